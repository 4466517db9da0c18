//! `export`: the merged file system of a container → one archive.

use std::io::Write;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};

use crate::image::tarball::pack::{Written, pack};
use crate::image::tarball::tree;

/// Writes what is at and below `root`, the root of a container's own mount, to `output`.
///
/// What is mounted in it (volumes, /proc, the files that are put over placeholders) is left out, the directories and empty
/// files it is mounted on are not. For a running container `root` is a clone of its mount without those below
/// ([`crate::sys::mount::clone_tree`]), for a stopped one a new mount. A root directory that is not root's with mode 0755
/// gets a member of its own.
pub fn export(root: BorrowedFd<'_>, output: &mut dyn Write) -> Result<Written> {
    let stat = rustix::fs::fstat(root).context("stat the root of the container")?;
    let plain = stat.st_mode & 0o7777 == 0o755 && (stat.st_uid, stat.st_gid) == (0, 0);
    let options = tree::Options {
        root: !plain,
        one_mount: true,
        ..tree::Options::default()
    };
    pack(root, options, output)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::image::snapshot::mount_image;
    use crate::image::tarball::read::Reader;
    use crate::image::testing::{Archive, image_of, store};
    use crate::sys::thread::with_own_mounts;

    fn names(archive: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut reader = Reader::new(archive);
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        names
    }

    #[test]
    fn the_merged_tree_is_written_with_empty_placeholders() {
        let (_scratch, images) = store("export");
        let lower = Archive::default()
            .file("etc/hosts", "x")
            .file("gone", "")
            .file("a", "1")
            .end();
        let upper = Archive::default()
            .file(".wh.gone", "")
            .file("b", "2")
            .link("c", "b")
            .end();
        let image = image_of(&images, &[lower, upper]);
        let root = mount_image(&images, &image).unwrap();
        let mut out = Vec::new();
        let written = export(root.as_fd(), &mut out).unwrap();
        assert_eq!(written.size, out.len() as u64);
        let names = names(&out);
        assert_eq!(
            names,
            [
                ".dockerenv",
                "a",
                "b",
                "c",
                "dev/",
                "dev/console",
                "dev/pts/",
                "dev/shm/",
                "etc/",
                "etc/hostname",
                "etc/hosts",
                "etc/mtab",
                "etc/resolv.conf",
                "proc/",
                "sys/"
            ]
        );
    }

    #[test]
    fn other_mounts_are_left_out() {
        let scratch = crate::image::testing::Scratch::new("export-mounts");
        let dir = scratch.dir("root");
        std::fs::create_dir(dir.join("volume")).unwrap();
        std::fs::write(dir.join("volume/below"), "").unwrap();
        std::fs::write(dir.join("x"), "").unwrap();
        let out = with_own_mounts(|| {
            use rustix::mount::{MountFlags, mount};
            let none = MountFlags::empty();
            mount("none", dir.join("volume"), "tmpfs", none, None).unwrap();
            std::fs::write(dir.join("volume/data"), "").unwrap();
            std::fs::write(dir.join("volume/hosts"), "mounted").unwrap();
            let (source, target) = (dir.join("volume/hosts"), dir.join("x"));
            rustix::mount::mount_bind(source, target).unwrap();
            let root = std::fs::File::open(&dir).unwrap();
            let mut out = Vec::new();
            export(root.as_fd(), &mut out).unwrap();
            out
        })
        .unwrap();
        assert_eq!(names(&out), ["volume/", "x"]);
        let text = String::from_utf8_lossy(&out);
        assert!(!text.contains("mounted"));
    }
}
