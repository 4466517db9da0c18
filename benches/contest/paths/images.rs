//! Images on their way: pull, push, load and save.
//!
//! Four images: five layers of this machine's /usr, as a Debian image has them; 50,000 small files; 512 MiB that nothing
//! compresses; and the first one with layers of zstd. A registry of the distribution project is beside them on the loopback
//! device, and stores and registry are on one file system. What a round has left is removed and written to the disk before
//! the next one begins. Layers are gzip as registries have them, except in archives: docker and podman save them plain.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::net::TcpStream;
use std::path::{Path as Place, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aril::image::tarball::{Entry, Kind, write};
use aril::oci::digest::HashingWriter;
use serde_json::json;

use super::wait;
use crate::bench::{Bench, Path, settle};
use crate::files::{large_file, small_files};
use crate::machine::{command, path};

const ROUNDS: usize = 5;
const LAYERS: usize = 5;
const LAYER_BYTES: u64 = 90 << 20;
/// A layer of one large file would say more about that file than about layers.
const FILE_MAX_BYTES: u64 = 48 << 20;
/// Has the images that are pulled.
const FULL: u16 = 5000;
/// Is empty before each push.
const EMPTY: u16 = 5001;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let names: Vec<String> = KINDS
        .iter()
        .flat_map(|(name, _)| paths(name))
        .chain([pull("zstd")])
        .collect();
    if !bench.wants_any(&names.iter().map(String::as_str).collect::<Vec<_>>()) {
        return Ok(());
    }
    let registry = Registry::start(&bench.work, FULL)?;
    for (name, make) in KINDS {
        let archive = archive(&bench.work, name, make)?;
        let is_first = name == KINDS[0].0;
        upload(&archive, name, &[])?;
        pulls(bench, name);
        if is_first {
            let zstd = ["--format", "oci", "--dest-compress-format", "zstd"];
            upload(&archive, "zstd", &zstd)?;
            pulls(bench, "zstd");
        }
        loads(bench, name, &archive)?;
        saves_and_pushes(bench, name, &archive)?;
        fs::remove_file(&archive)?;
    }
    drop(registry);
    Ok(())
}

fn pull(name: &str) -> String {
    format!("pull {name}")
}

/// The paths of an image that goes all ways.
fn paths(name: &str) -> [String; 4] {
    [
        pull(name),
        format!("load {name}"),
        format!("save {name}"),
        format!("push {name}"),
    ]
}

/// Makes the tar archives of an image's layers in a folder.
type Make = fn(&Place) -> Result<Vec<PathBuf>>;

const KINDS: [(&str, Make); 3] = [
    ("debian", |dir| debian(dir)),
    ("small", |dir| Ok(vec![packed(dir, small_files)?])),
    ("large", |dir| Ok(vec![packed(dir, large_file)?])),
];

/// Files of this machine, in as many bytes as a Debian image with a few programs has.
fn debian(dir: &Place) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in ["/usr/bin", "/usr/lib", "/usr/share"] {
        list(Place::new(folder), &mut all)?;
    }
    let total: u64 = all.iter().map(|(_, size)| size).sum();
    // Runs of files from all over the list, one for each layer.
    let wanted = u64::try_from(LAYERS)? * LAYER_BYTES;
    ensure!(total > wanted, "/usr has too few files for {LAYERS} layers");
    let gap = (total - wanted) / u64::try_from(LAYERS)?;
    let (mut at, mut begin) = (0, 0);
    let mut layers = vec![Vec::new(); LAYERS];
    let mut layer = 0;
    for (path, size) in all {
        if at >= begin && layer < LAYERS {
            layers[layer].push(path);
        }
        at += size;
        if at >= begin + LAYER_BYTES && layer < LAYERS {
            layer += 1;
            begin = at + gap;
        }
    }
    let mut tars = Vec::new();
    for (number, files) in layers.iter().enumerate() {
        let (names, tar) = (dir.join("names"), dir.join(format!("layer-{number}.tar")));
        fs::write(&names, files.join("\0"))?;
        let options = "--null --no-recursion --no-unquote -C / --files-from";
        let mut args: Vec<&str> = options.split(' ').collect();
        args.extend([path(&names)?, "-cf", path(&tar)?]);
        command("tar", &args)?;
        tars.push(tar);
    }
    Ok(tars)
}

/// Lists folders, files and links below `folder` with their sizes, each folder before what it has.
fn list(folder: &Place, all: &mut Vec<(String, u64)>) -> Result<()> {
    all.push((path(folder)?.to_owned(), 0));
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, place) = (entry.file_type()?, entry.path());
        // Names that are no text are left out.
        let Some(name) = place.to_str() else { continue };
        let size = entry.metadata()?.len();
        if kind.is_dir() {
            list(&place, all)?;
        } else if kind.is_symlink() || (kind.is_file() && size < FILE_MAX_BYTES) {
            all.push((name.to_owned(), size));
        }
    }
    Ok(())
}

/// Makes one layer of what `make` makes.
fn packed(dir: &Place, make: fn(&Place) -> Result<()>) -> Result<PathBuf> {
    let (tree, tar) = (dir.join("tree"), dir.join("layer.tar"));
    fs::create_dir(&tree)?;
    make(&tree)?;
    command("tar", &["-C", path(&tree)?, "-cf", path(&tar)?, "."])?;
    Ok(tar)
}

/// Makes an archive as docker saves it, with the image's name in the full registry.
fn archive(work: &Place, name: &str, make: Make) -> Result<PathBuf> {
    let dir = work.join("layers");
    fs::create_dir(&dir)?;
    let tars = make(&dir)?;
    let place = work.join(format!("{name}.tar"));
    let mut output = BufWriter::new(File::create(&place)?);
    let (mut diff_ids, mut names) = (Vec::new(), Vec::new());
    for (number, tar) in tars.iter().enumerate() {
        let mut hashing = HashingWriter::new(io::sink());
        let size = io::copy(&mut File::open(tar)?, &mut hashing)?;
        diff_ids.push(hashing.finish().1.to_string());
        let mut entry = Entry::new(format!("{number}/layer.tar"), Kind::File, 0o644);
        entry.size = size;
        let mut header = Vec::new();
        write::header(&mut header, &entry)?;
        output.write_all(&header)?;
        io::copy(&mut File::open(tar)?, &mut output)?;
        output.write_all(&vec![0; write::padding(size)])?;
        names.push(format!("{number}/layer.tar"));
    }
    let config = json!({
        "architecture": aril::oci::platform::Platform::host().architecture,
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let item = json!([{"Config": "config.json", "RepoTags": [full(name)], "Layers": names}]);
    for (member, document) in [("config.json", config), ("manifest.json", item)] {
        let entry = Entry::new(member, Kind::File, 0o644);
        write::append(&mut output, &entry, document.to_string().as_bytes())?;
    }
    output.write_all(&write::END)?;
    output.flush()?;
    fs::remove_dir_all(&dir)?;
    Ok(place)
}

fn full(name: &str) -> String {
    format!("127.0.0.1:{FULL}/{name}:latest")
}

fn upload(archive: &Place, name: &str, options: &[&str]) -> Result<()> {
    let from = format!("docker-archive:{}", path(archive)?);
    let to = format!("docker://{}", full(name));
    let mut args = vec!["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"];
    args.extend(options);
    args.extend([from.as_str(), to.as_str()]);
    command("skopeo", &args)
}

fn pulls(bench: &Bench, name: &str) {
    let reference = full(name);
    Path::new(&pull(name))
        .goal(3.0)
        .rounds(ROUNDS)
        .after(&|contender, _| {
            contender.run(&["rmi", &reference])?;
            settle(&bench.work)
        })
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["pull", "-q", &reference])
        });
}

fn loads(bench: &Bench, name: &str, archive: &Place) -> Result<()> {
    let (archive, reference) = (path(archive)?, full(name));
    Path::new(&format!("load {name}"))
        .goal(2.5)
        .rounds(ROUNDS)
        .after(&|contender, _| {
            contender.run(&["rmi", &reference])?;
            settle(&bench.work)
        })
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["load", "-q", "-i", archive])
        });
    Ok(())
}

fn saves_and_pushes(bench: &Bench, name: &str, archive: &Place) -> Result<()> {
    let (save, push) = (format!("save {name}"), format!("push {name}"));
    if !bench.wants(&save) && !bench.wants(&push) {
        return Ok(());
    }
    let (local, remote) = (full(name), format!("127.0.0.1:{EMPTY}/{name}:latest"));
    for contender in &bench.engines {
        contender.run(&["load", "-q", "-i", path(archive)?])?;
        contender.run(&["tag", &local, &remote])?;
    }
    settle(&bench.work)?;
    let saved = bench.work.join("saved.tar");
    Path::new(&save)
        .goal(3.0)
        .rounds(ROUNDS)
        .after(&|_, _| {
            fs::remove_file(&saved)?;
            settle(&bench.work)
        })
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["save", "-o", path(&saved)?, &local])
        });
    let empty = RefCell::new(Some(Registry::start(&bench.work, EMPTY)?));
    Path::new(&push)
        .rounds(ROUNDS)
        .after(&|contender, _| {
            drop(empty.take());
            empty.replace(Some(Registry::start(&bench.work, EMPTY)?));
            // What was compressed for the push goes.
            contender.run(&["image", "prune", "-f"])?;
            settle(&bench.work)
        })
        .measure(bench, &bench.engines, &|contender, _| {
            contender.run(&["push", "-q", &remote])
        });
    for contender in &bench.engines {
        contender.run(&["rmi", &local, &remote])?;
    }
    settle(&bench.work)
}

/// A registry on the loopback device; what it has goes with it.
struct Registry {
    process: Child,
    dir: PathBuf,
}

impl Registry {
    /// Starts an empty one, in a folder of its own.
    fn start(work: &Place, port: u16) -> Result<Registry> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = work.join(format!("registry-{number}"));
        // One that had the port before has to let go of it.
        wait(&|| TcpStream::connect(("127.0.0.1", port)).is_err())?;
        fs::create_dir(&dir)?;
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {}/storage}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            path(&dir)?
        );
        fs::write(&config, text)?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("run docker-registry")?;
        let registry = Registry { process, dir };
        wait(&|| TcpStream::connect(("127.0.0.1", port)).is_ok())
            .context("docker-registry does not answer")?;
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The namespaces end it if this cannot.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}
