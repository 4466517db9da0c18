//! `import`: an archive of a root file system → an image with one layer.
//!
//! The layer is what the unpacked tree gives when it is written again, and its digest is of those bytes, not of the bytes
//! that came in: so the archive need not be kept beside the tree, what unpacking cannot keep is in neither, and two
//! archives of the same tree give the same layer.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};

use crate::image::apply::{Facts, Policy, apply};
use crate::image::compress::{ahead, decompress};
use crate::image::create::{NewImage, create};
use crate::image::gc::Lease;
use crate::image::layers::unpack::Staged;
use crate::image::layers::{Backing, Meta};
use crate::image::path::show;
use crate::image::tarball::pack::pack;
use crate::image::tarball::tree;
use crate::image::work::{WorkDir, tidy};
use crate::image::{Image, Images, change, now};
use crate::oci::digest::HashingWriter;
use crate::oci::image::Config;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// How to import.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// The name that the image gets, `latest` added if it has no tag. Default: none.
    pub reference: Option<Reference>,
    /// Comment in the history; empty says where it was imported from. Default: empty.
    pub message: String,
    /// Where it was imported from, for the comment: a URL, or `-`. Default: `-`.
    pub source: String,
    /// Lines of a Dockerfile: see [`change::apply`]. Default: none.
    pub changes: Vec<String>,
    /// What the programs in it are made for. Default: this machine's operating system and architecture.
    pub platform: Option<Platform>,
    /// When it was made, RFC 3339. Default: now.
    pub created: Option<String>,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            reference: None,
            message: String::new(),
            source: "-".to_owned(),
            changes: Vec::new(),
            platform: None,
            created: None,
        }
    }
}

/// Makes an image of an archive, compressed or not, and returns it.
pub fn import(images: &Images, input: impl Read + Send, options: &ImportOptions) -> Result<Image> {
    let mut config = Config::default();
    change::apply(&mut config, &options.changes)?;
    if let Some(platform) = &options.platform
        && platform.os != "linux"
    {
        let why = "operating system is not supported";
        return Err(crate::error::invalid(why));
    }
    tidy(images.dirs())?;
    let mut lease = Lease::take(images, &[])?;
    let layer = layer(images, &mut lease, input)?;
    let comment = match options.message.as_str() {
        "" => format!("Imported from {}", options.source),
        message => message.to_owned(),
    };
    let platform = options.platform.as_ref().map(|platform| {
        let variant = Some(platform.variant.clone()).filter(|variant| !variant.is_empty());
        (platform.architecture.clone(), variant)
    });
    let new = NewImage {
        layer: Some(&layer),
        config,
        created: options.created.clone().unwrap_or_else(now),
        comment,
        platform,
        ..NewImage::default()
    };
    let reference = options.reference.clone().map(Reference::or_latest);
    Ok(create(images, &mut lease, &new, reference.as_ref())?.image)
}

fn layer(images: &Images, lease: &mut Lease, input: impl Read + Send) -> Result<Meta> {
    let work = WorkDir::new(images.dirs())?;
    work.make("layer")?;
    let root = work.make("layer/root")?;
    let (_, stream) = decompress(input).context("read the archive")?;
    let facts = ahead(stream, |stream| {
        apply(stream, &root, Policy::RootFilesystem)
    })?;
    if let Some((path, target)) = facts.links.first() {
        // There is no layer below that could have it.
        let (path, target) = (show(&path.0), show(&target.0));
        bail!("unpack {path:?}: a hard link to {target:?}, which the archive does not have");
    }
    let mut hashing = HashingWriter::new(io::sink());
    let options = tree::Options {
        root: facts.root,
        ..tree::Options::default()
    };
    let opened = File::open(&root).with_context(|| format!("open {}", root.display()))?;
    let written = pack(opened.as_fd(), options, &mut hashing)?;
    let (_, diff_id, size) = hashing.finish();
    // The layer is the archive that was just hashed, and that one describes every directory.
    let facts = Facts {
        entries: written.entries,
        implied: Vec::new(),
        ..facts
    };
    lease.add(std::slice::from_ref(&diff_id))?;
    Staged::made(work, facts).install(images, &diff_id, (size, Backing::Tree))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layers;
    use crate::image::testing::{Archive, pack, store, unpack};
    use crate::oci::digest;

    #[test]
    fn the_layer_is_the_tree() {
        let (scratch, images) = store("import");
        let mut archive = Archive::default();
        archive
            .file("implied/by/file", "x")
            .file("a", "1")
            .file("a", "22")
            .file(".wh.gone", "");
        let options = ImportOptions {
            reference: Some(Reference::parse("made").unwrap()),
            changes: vec!["CMD [\"sh\"]".to_owned()],
            created: Some("2026-01-01T00:00:00Z".to_owned()),
            ..ImportOptions::default()
        };
        let image = import(&images, &archive.end()[..], &options).unwrap();
        assert_eq!(image.references[0].familiar(), "made:latest");
        let history = &image.config.history[0];
        assert_eq!(history.comment.as_deref(), Some("Imported from -"));
        assert_eq!(
            (history.created_by.as_deref(), history.empty_layer),
            (None, None)
        );
        assert_eq!(
            image.config.config.as_ref().unwrap().cmd,
            Some(vec!["sh".to_owned()])
        );
        assert_eq!((image.size, image.config.os.as_str()), (3, "linux"));
        let meta = layers::meta(&images, &image.layers()[0]).unwrap();
        layers::check(&images, &meta).unwrap();
        // Who unpacks its archive gets the same facts.
        let tar = pack(&layers::root(&images, &meta.diff_id).unwrap(), false);
        assert_eq!(digest::sha256(&tar), meta.diff_id);
        assert_eq!(unpack(&scratch, "again", &tar).unwrap(), meta.facts);
        // The same tree from another archive, compressed: the same layer and the same image.
        let mut other = Archive::default();
        other
            .file("a", "22")
            .dir("implied", 0o755)
            .dir("implied/by", 0o755)
            .file("implied/by/file", "x");
        let zstd = zstd::encode_all(&other.end()[..], 1).unwrap();
        let again = import(&images, &zstd[..], &options).unwrap();
        assert_eq!(again.id, image.id);
        assert_eq!(layers::names(&images).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_root_file_system_leaves_nothing() {
        let (_scratch, images) = store("import-bad");
        let dangling = Archive::default().link("l", "missing").end();
        let climbing = Archive::default().file("../x", "").end();
        for (bytes, why) in [
            (dangling, "which the archive does not have"),
            (climbing, "has \"..\""),
            (b"rubbish".to_vec(), "ends inside a header"),
        ] {
            let error = import(&images, &bytes[..], &ImportOptions::default()).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
        let options = ImportOptions {
            changes: vec!["FROM x".to_owned()],
            ..ImportOptions::default()
        };
        let error = import(&images, io::empty(), &options).unwrap_err();
        assert_eq!(error.to_string(), "FROM is not a valid change command");
        assert!(layers::names(&images).unwrap().is_empty());
        assert!(images.list().unwrap().is_empty());
        for dir in [images.dirs().tmp(), images.dirs().leases()] {
            assert!(crate::image::work::list(&dir).unwrap().is_empty());
        }
    }
}
