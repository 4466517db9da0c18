//! Unpacking a layer, and committing a container: trees of many small files and of one large one.
//!
//! ```text
//! cargo bench --bench image [-- ROUNDS]     needs root; works below TMPDIR
//! ```
//!
//! Prints min, median and max in milliseconds. Nothing is deleted between rounds: an ext4 without a journal, which test
//! machines have, takes minutes to reuse the inodes of deleted files and makes whoever comes second look slow.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod noise;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use aril::dirs::Dirs;
use aril::image::apply::{Policy, apply};
use aril::image::diff::{Changed, changes, commit::commit};
use aril::image::gc::Lease;
use aril::image::tarball::{Entry, Kind, write};
use aril::image::{Images, archive, layers, snapshot};
use noise::{content, noise};

const SMALL_FILES: usize = 50_000;
const LARGE_BYTES: usize = 200 << 20;

fn main() -> Result<()> {
    let rounds = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(5);
    let base = std::env::temp_dir().join(format!("aril-bench-{}", std::process::id()));
    std::fs::create_dir_all(&base)?;
    println!(
        "{} processors, {rounds} rounds, {}",
        std::thread::available_parallelism()?,
        base.display()
    );
    for (name, tar) in [
        ("50,000 small files", small()?),
        ("one file of 200 MB", large()?),
    ] {
        println!("{name}: archive of {} MB", tar.len() >> 20);
        bench(&base, name, &tar, rounds)?;
    }
    std::fs::remove_dir_all(&base)?;
    Ok(())
}

fn bench(base: &Path, name: &str, tar: &[u8], rounds: usize) -> Result<()> {
    let base = base.join(name.replace(' ', "-"));
    std::fs::create_dir_all(&base)?;
    let mut round = 0;
    time("untar", rounds, || {
        round += 1;
        let root = base.join(format!("apply-{round}"));
        std::fs::create_dir(&root)?;
        apply(tar, &root, Policy::Layer).map(drop)
    })?;
    let gzip = compress(tar)?;
    println!("  gzip of it: {} MB", gzip.len() >> 20);
    for (what, blob) in [("receive plain", tar), ("receive gzip", &gzip[..])] {
        let mut round = 0;
        time(what, rounds, || {
            round += 1;
            let images = store(&base.join(format!("{}-{round}", what.replace(' ', "-"))))?;
            let part = aril::image::blobs::begin_unknown(&images)?;
            layers::unpack::receive(&images, part, blob, layers::unpack::Expected::default())
                .map(drop)
        })?;
    }
    let upper = base.join("apply-1");
    let below = base.join("below");
    std::fs::create_dir(&below)?;
    let changed = Changed {
        lowers: std::slice::from_ref(&below),
        upper: &upper,
        excluded: &[],
    };
    time("diff", rounds, || changes(changed).map(drop))?;
    let mut round = 0;
    time("commit", rounds, || {
        round += 1;
        let images = store(&base.join(format!("commit-{round}")))?;
        let mut lease = Lease::take(&images, &[])?;
        let meta = commit(&images, &mut lease, changed)?;
        meta.map(drop).context("nothing was committed")
    })?;
    let mut round = 0;
    time("import", rounds, || {
        round += 1;
        let images = store(&base.join(format!("import-{round}")))?;
        let options = archive::import::ImportOptions::default();
        archive::import::import(&images, tar, &options).map(drop)
    })?;
    let images = store(&base.join("image"))?;
    let image = archive::import::import(&images, tar, &archive::import::ImportOptions::default())?;
    let saved: PathBuf = base.join("saved.tar");
    time("save", 1, || {
        let mut file = std::fs::File::create(&saved)?;
        let selected = [archive::save::Selected {
            image: image.clone(),
            references: Vec::new(),
        }];
        archive::save::save(&images, &selected, &mut file)
    })?;
    let mut round = 0;
    time("load", rounds, || {
        round += 1;
        let images = store(&base.join(format!("load-{round}")))?;
        let input = archive::load::Input::Seekable(std::fs::File::open(&saved)?);
        archive::load::load(
            &images,
            input,
            &archive::load::LoadOptions::default(),
            &mut |_| {},
        )
        .map(drop)
    })?;
    time("lowers, cold", 1, || {
        snapshot::lowers(&images, &image).map(drop)
    })?;
    time("lowers, warm", rounds, || {
        snapshot::lowers(&images, &image).map(drop)
    })?;
    let lowers = snapshot::lowers(&images, &image)?;
    time("mount", rounds, || {
        snapshot::overlay::mount(&lowers, None).map(drop)
    })
}

fn time(what: &str, rounds: usize, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        run().with_context(|| what.to_owned())?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_unstable_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "  {what:14} {:9.2} {median:9.2} {:9.2} ms",
        times[0],
        times[times.len() - 1]
    );
    Ok(())
}

fn store(root: &Path) -> Result<Images> {
    let dirs = Dirs::new(root.join("data"), root.join("run"));
    dirs.create()?;
    Ok(Images::open(&dirs))
}

fn compress(data: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data)?;
    Ok(encoder.finish()?)
}

/// 500 directories with 100 files of up to 4 KiB each.
fn small() -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut noise = noise();
    for n in 0..SMALL_FILES {
        let dir = n / 100;
        if n % 100 == 0 {
            let entry = Entry::new(format!("usr/share/some/dir{dir}"), Kind::Directory, 0o755);
            write::append(&mut out, &entry, b"")?;
        }
        let entry = Entry::new(
            format!("usr/share/some/dir{dir}/file{n}"),
            Kind::File,
            0o644,
        );
        let size = usize::try_from(noise() % 4096)?;
        write::append(&mut out, &entry, &content(&mut noise, size))?;
    }
    out.extend_from_slice(&write::END);
    Ok(out)
}

fn large() -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let content = content(&mut noise(), LARGE_BYTES);
    write::append(&mut out, &Entry::new("large", Kind::File, 0o644), &content)?;
    out.extend_from_slice(&write::END);
    Ok(out)
}
