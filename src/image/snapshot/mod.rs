//! Layers → the root file system of containers.
//!
//! ```text
//! upper of the container            empty at first, everything that a container writes
//! top of the image                  tops/CHAIN/root: what depends on the whole stack, made once per image
//! layer n … layer 1                 each made without knowing the others
//! ```
//!
//! overlayfs stacks them in this order. A directory that is in the stack twice is refused by the kernel, and the lower
//! copy could not be seen anyway, so the topmost one stays; layers that change nothing are left out.

pub mod overlay;
mod stack;
mod top;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};

use super::layers::Meta;
use super::{Image, Images, apply};
use crate::sys::mount::{attach, clone_tree};
use crate::sys::rooted::Root;
use crate::sys::thread::with_own_mounts;

pub(crate) use top::name as top_name;

/// Returns the directories to stack for containers of an image, the topmost first.
///
/// They are looked at once per boot: layers that a crash may have harmed are made again, and the image's top is made.
/// Afterwards this reads one small file. The caller holds a lease on the image, or a container's record that names it. The
/// error is of kind `NotFound` if a layer is missing.
pub fn lowers(images: &Images, image: &Image) -> Result<Vec<PathBuf>> {
    top::lowers(images, image)
}

/// Makes `upper` and `work`, the directories of one container on top of `lowers`, with the image's owner, mode and
/// attributes of `/`: overlayfs shows those of the upper directory.
pub fn prepare(lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<()> {
    for dir in [upper, work] {
        std::fs::create_dir(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("open {}", path.display()))
    };
    let top = lowers.first().context("an image without a top")?;
    apply::copy_directory_metadata(open(top)?.as_fd(), open(upper)?.as_fd())
        .with_context(|| format!("prepare {}", upper.display()))
}

/// Mounts an image alone, read-only: for copying out of it. The mount is gone with its descriptor.
pub fn mount_image(images: &Images, image: &Image) -> Result<OwnedFd> {
    overlay::mount(&lowers(images, image)?, None)
}

/// Mounts what the path `part` leads to in an image, read-only, links followed inside it; all of it if the path is empty. Unlike
/// in [`mount_image`] there is nothing that only a container needs. The mount is gone with its descriptor.
pub fn mount_part(images: &Images, image: &Image, part: &Path) -> Result<OwnedFd> {
    let lowers = top::bare_lowers(images, image)?;
    let whole = overlay::mount(&lowers, None)?;
    if part.as_os_str().is_empty() {
        return Ok(whole);
    }
    // Kernels before 6.15 clone nothing of a mount that is attached nowhere. Where it is does not matter.
    let place = lowers.first().context("an image without a top")?;
    with_own_mounts(|| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(place, flags, Mode::empty())?;
        attach(whole.as_fd(), place.as_fd())?;
        let found = Root::from_dir(whole).handle(part)?;
        clone_tree(found.as_fd(), true)
    })
    .context("make a mount namespace")?
    .with_context(|| format!("find {} in the image", part.display()))
}

/// Returns which of `layers`, from the lowest, are seen, the topmost first.
fn visible(layers: &[Meta]) -> Vec<&Meta> {
    let mut seen: Vec<&Meta> = Vec::new();
    for layer in layers.iter().rev() {
        if layer.facts.is_empty() || seen.iter().any(|known| known.diff_id == layer.diff_id) {
            continue;
        }
        seen.push(layer);
        // The kernel does not look at this mark on the root of a layer.
        if layer.facts.opaque {
            break;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    use super::*;
    use crate::image::layers;
    use crate::image::tarball::{Entry, Kind};
    use crate::image::testing::{Archive, Scratch, at, image_of, store, xattrs};

    /// A stack of layers as a container sees it, mounted as long as this lives.
    struct Stack {
        scratch: Scratch,
        images: Images,
        image: Image,
    }

    impl Stack {
        fn new(layers: &[&dyn Fn(&mut Archive)]) -> Stack {
            let (scratch, images) = store("snapshot");
            let layers: Vec<_> = layers
                .iter()
                .map(|make| {
                    let mut archive = Archive::default();
                    make(&mut archive);
                    archive.end()
                })
                .collect();
            let image = image_of(&images, &layers);
            Stack {
                scratch,
                images,
                image,
            }
        }

        fn lowers(&self) -> Vec<PathBuf> {
            lowers(&self.images, &self.image).unwrap()
        }

        /// Calls `look` with a path under which the stack is mounted read-only.
        fn look<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
            let root = mount_image(&self.images, &self.image).unwrap();
            look(&PathBuf::from(format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&root)
            )))
        }
    }

    #[test]
    fn layers_hide_what_they_delete() {
        let stack = Stack::new(&[
            &|a| {
                a.file("keep", "1")
                    .file("gone", "1")
                    .file("d/old", "1")
                    .file("e/old", "1");
                a.file("f", "file")
                    .dir("turned", 0o755)
                    .file("turned/x", "");
            },
            &|a| {
                a.file(".wh.gone", "")
                    .file("d/.wh..wh..opq", "")
                    .file("d/new", "2");
                a.dir("f", 0o755)
                    .file("turned", "file")
                    .file(".wh.e", "")
                    .file("e/new", "2");
            },
        ]);
        stack.look(|root| {
            let names = |dir: &str| {
                let mut names: Vec<_> = std::fs::read_dir(root.join(dir))
                    .unwrap()
                    .map(|e| e.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                names
            };
            assert!(root.join("keep").exists() && !root.join("gone").exists());
            assert_eq!(names("d"), ["new"]);
            assert_eq!(names("e"), ["new"]);
            assert!(root.join("f").is_dir() && root.join("turned").is_file());
        });
    }

    #[test]
    fn implied_directories_keep_their_metadata() {
        let described = |path: &str, mode: u32, uid: u32| {
            let mut entry = Entry::new(path, Kind::Directory, mode);
            (entry.uid, entry.mtime) = (uid, at(12345));
            entry.xattrs = vec![(b"user.k".to_vec(), b"v".to_vec())];
            entry
        };
        let stack = Stack::new(&[
            &|a| {
                a.put(&described("tmp", 0o1777, 0), b"")
                    .put(&described("home", 0o750, 7), b"");
                a.put(&described("home/u", 0o700, 8), b"")
                    .put(&described("opq", 0o700, 9), b"");
                a.put(&described("del", 0o700, 9), b"")
                    .put(&described("set", 0o700, 9), b"");
            },
            &|a| {
                a.file("tmp/x", "")
                    .file("home/u/x", "")
                    .file("opq/.wh..wh..opq", "");
                a.file("opq/x", "")
                    .file(".wh.del", "")
                    .file("new/x", "")
                    .file("set/x", "");
            },
            &|a| {
                a.file("tmp/y", "").file("del/x", "").dir("set", 0o711);
            },
        ]);
        stack.look(|root| {
            for (path, mode, uid, mtime) in [
                ("tmp", 0o1777, 0, 12345),
                ("home", 0o750, 7, 12345),
                ("home/u", 0o700, 8, 12345),
                ("opq", 0o755, 0, 0),
                ("del", 0o755, 0, 0),
                ("new", 0o755, 0, 0),
                ("set", 0o711, 0, 0),
            ] {
                let meta = root.join(path).metadata().unwrap();
                let found = (meta.mode() & 0o7777, meta.uid(), meta.mtime());
                assert_eq!(found, (mode, uid, mtime), "{path}");
            }
            assert_eq!(xattrs(&root.join("tmp")).len(), 1);
            assert!(root.join("tmp/x").exists() && root.join("tmp/y").exists());
        });
    }

    #[test]
    fn the_root_is_the_images() {
        let root_of = |mode: u32, gid: u32| {
            let mut entry = Entry::new("./", Kind::Directory, mode);
            (entry.gid, entry.mtime) = (gid, at(777));
            entry
        };
        let stack = Stack::new(&[
            &|a| {
                a.put(&root_of(0o700, 1), b"").file("a", "");
            },
            &|a| {
                a.put(&root_of(0o1711, 2), b"");
            },
            &|a| {
                a.file("b", "");
            },
        ]);
        let check = |path: &Path| {
            let meta = path.metadata().unwrap();
            let found = (meta.mode() & 0o7777, meta.gid(), meta.mtime());
            assert_eq!(found, (0o1711, 2, 777), "{}", path.display());
        };
        stack.look(check);
        let container = stack.scratch.dir("container");
        let (upper, work) = (container.join("upper"), container.join("work"));
        prepare(&stack.lowers(), &upper, &work).unwrap();
        check(&upper);
        let plain = Stack::new(&[&|a| {
            a.file("a", "");
        }]);
        plain.look(|root| {
            assert_eq!(root.metadata().unwrap().mode() & 0o7777, 0o755);
        });
    }

    #[test]
    fn links_into_lower_layers_are_made() {
        let stack = Stack::new(&[
            &|a| {
                let mut tool = Entry::new("usr/bin/tool", Kind::File, 0o4755);
                (tool.uid, tool.mtime) = (3, at(55));
                a.put(&tool, b"program")
                    .symlink("bin", "usr/bin")
                    .symlink("sym", "x");
                a.file("old", "old");
            },
            &|a| {
                a.link("bin2/tool", "usr/bin/tool")
                    .link("through", "bin/tool")
                    .link("sym2", "sym");
                a.link("old", "usr/bin/tool")
                    .link("later", "usr/bin/tool")
                    .link("over", "usr/bin/tool");
            },
            &|a| {
                a.file(".wh.later", "").file("over", "mine");
            },
        ]);
        stack.look(|root| {
            for path in ["bin2/tool", "through", "old"] {
                let meta = root.join(path).metadata().unwrap();
                let found = (meta.mode() & 0o7777, meta.uid(), meta.mtime(), meta.len());
                assert_eq!(found, (0o4755, 3, 55, 7), "{path}");
            }
            assert_eq!(root.join("sym2").read_link().unwrap(), Path::new("x"));
            assert!(!root.join("later").exists());
            assert_eq!(std::fs::read(root.join("over")).unwrap(), b"mine");
        });
        let broken = Stack::new(&[
            &|a| {
                a.file("a", "");
            },
            &|a| {
                a.link("l", "missing");
            },
        ]);
        let error = lowers(&broken.images, &broken.image).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("link \"l\" to \"missing\""), "{text}");
    }

    #[test]
    fn placeholders_are_there_once_and_for_all() {
        let stack = Stack::new(&[&|a| {
            a.dir("etc", 0o755)
                .symlink("etc/resolv.conf", "/run/resolv")
                .file("etc/hosts", "x");
            a.symlink("proc", "/tmp")
                .dir("etc/hostname", 0o700)
                .file("dev/console", "x");
        }]);
        let mtime = stack.look(|root| {
            for path in ["dev/pts", "dev/shm", "proc", "sys"] {
                let meta = root.join(path).symlink_metadata().unwrap();
                assert!(meta.is_dir() && meta.mode() & 0o7777 == 0o755, "{path}");
            }
            for path in [".dockerenv", "dev/console", "etc/hosts", "etc/resolv.conf"] {
                let meta = root.join(path).symlink_metadata().unwrap();
                assert!(meta.is_file() && meta.len() == 0, "{path}");
            }
            assert!(root.join("etc/hostname").is_dir());
            assert_eq!(
                root.join("etc/mtab").read_link().unwrap(),
                Path::new("/proc/mounts")
            );
            root.join("etc").metadata().unwrap().mtime()
        });
        assert_eq!(mtime, 0, "the directory's time is the layer's");
        // Nothing of it was written into the layer.
        let layer = layers::root(&stack.images, &stack.image.layers()[0]).unwrap();
        assert!(!layer.join(".dockerenv").exists() && layer.join("proc").is_symlink());
        // Looked at once per boot.
        let before = std::fs::metadata(&stack.lowers()[0]).unwrap().ino();
        assert_eq!(std::fs::metadata(&stack.lowers()[0]).unwrap().ino(), before);
    }

    #[test]
    fn a_mounted_image_has_no_placeholders() {
        let stack = Stack::new(&[
            &|a| {
                a.put(&Entry::new("etc", Kind::Directory, 0o711), b"");
            },
            &|a| {
                a.file("etc/passwd", "root");
            },
        ]);
        stack.look(|root| assert!(root.join("etc/hosts").exists()));
        for (part, etc) in [("", "etc"), ("etc", ".")] {
            let mount = mount_part(&stack.images, &stack.image, Path::new(part)).unwrap();
            let at = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mount));
            let etc = Path::new(&at).join(etc);
            let mut names = std::fs::read_dir(&etc).unwrap();
            assert_eq!(names.next().unwrap().unwrap().file_name(), "passwd");
            assert!(names.next().is_none(), "only what the image has: {part:?}");
            let mode = etc.metadata().unwrap().mode();
            assert_eq!(mode & 0o7777, 0o711, "an implied directory: {part:?}");
            assert!(!Path::new(&at).join(".dockerenv").exists());
        }
    }

    #[test]
    fn placeholders_do_not_leave_the_image() {
        let outside = Scratch::new("outside");
        let target = outside.0.to_str().unwrap().to_owned();
        let stack = Stack::new(&[&|a| {
            a.symlink("etc", &target)
                .symlink("dev", "../../../../../../..")
                .symlink("sys", "sys");
        }]);
        stack.look(|root| {
            assert!(root.join("sys").is_dir());
        });
        assert!(std::fs::read_dir(&outside.0).unwrap().next().is_none());
    }

    #[test]
    fn repeated_empty_and_hidden_layers_are_left_out() {
        let layer: &dyn Fn(&mut Archive) = &|a| {
            a.file("a", "1");
        };
        let stack = Stack::new(&[
            layer,
            &|a| {
                a.file("b", "2");
            },
            &|_| {},
            layer,
        ]);
        assert_eq!(stack.image.layers().len(), 4);
        assert_eq!(stack.lowers().len(), 3, "a top and two layers");
        stack.look(|root| assert!(root.join("a").exists() && root.join("b").exists()));
        let opaque = Stack::new(&[layer, &|a| {
            a.file(".wh..wh..opq", "").file("c", "");
        }]);
        assert_eq!(opaque.lowers().len(), 2);
        opaque.look(|root| assert!(root.join("c").exists() && !root.join("a").exists()));
        let none = Stack::new(&[]);
        assert_eq!(none.lowers().len(), 1);
        none.look(|root| assert!(root.join(".dockerenv").exists()));
    }

    #[test]
    fn an_image_cannot_speak_for_overlayfs() {
        let stack = Stack::new(&[
            &|a| {
                a.file("d/below", "seen")
                    .file("secret/x", "1")
                    .device("dev0", 0, 0);
            },
            &|a| {
                let mut forged = Entry::new("d", Kind::Directory, 0o755);
                forged.xattrs = vec![(b"trusted.overlay.opaque".to_vec(), b"y".to_vec())];
                a.put(&forged, b"");
                forged = Entry::new("r", Kind::Directory, 0o755);
                forged.xattrs = vec![(b"trusted.overlay.redirect".to_vec(), b"/secret".to_vec())];
                a.put(&forged, b"");
            },
        ]);
        stack.look(|root| {
            assert!(root.join("d/below").exists());
            assert!(!root.join("r/x").exists());
            assert!(!root.join("dev0").exists());
        });
    }

    #[test]
    fn a_container_writes_into_its_upper_only() {
        let stack = Stack::new(&[&|a| {
            a.file("etc/passwd", "root").device("null", 1, 3);
        }]);
        let container = stack.scratch.dir("container");
        let (upper, work) = (container.join("upper"), container.join("work"));
        prepare(&stack.lowers(), &upper, &work).unwrap();
        let place = overlay::Upper {
            upper: &upper,
            work: &work,
            volatile: false,
        };
        let root = Root::from_dir(overlay::mount(&stack.lowers(), Some(place)).unwrap());
        let file = root
            .open_at(
                Path::new("etc/passwd"),
                OFlags::WRONLY | OFlags::APPEND,
                Mode::empty(),
            )
            .unwrap();
        rustix::io::write(&file, b" and more").unwrap();
        let null = root.handle(Path::new("null")).unwrap();
        let null = std::fs::File::from(null).metadata().unwrap();
        assert!(null.file_type().is_char_device());
        drop((file, root));
        assert_eq!(
            std::fs::read(upper.join("etc/passwd")).unwrap(),
            b"root and more"
        );
        assert!(!upper.join(".dockerenv").exists());
        stack.look(|root| assert_eq!(std::fs::read(root.join("etc/passwd")).unwrap(), b"root"));
    }
}
