//! What a container has from outside: mounts, namespaces. CRIU saves them as names, and gets what they mean now at a restore.
//! Pure, but for the mount points of a running container.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, FileType, statat};
use std::os::fd::AsFd as _;

use super::rpc::ExternalMount;
use crate::cgroup::Cgroup;
use crate::error;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::runtime::{Mount, Spec};
use crate::runtime::cgroupfs::hierarchy_name;
use crate::runtime::namespaces::{self, Namespaces};
use crate::runtime::options;
use crate::runtime::{devices, mounts};
use crate::sys::rooted::{Root, path_of};

/// What covers masked files: always the host's.
const NULL: &str = "/dev/null";

/// A mount whose source is the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct External {
    /// Where, inside; also its name in the images.
    pub(super) destination: PathBuf,
    /// On the host.
    pub(super) source: PathBuf,
}

/// Returns the mounts of a configuration that come from the host; `cgroup` is the container's own.
pub(super) fn external(
    spec: &Spec,
    bundle: &Path,
    cgroup: Option<&Cgroup>,
) -> Result<Vec<External>> {
    let linux = spec.linux.clone().unwrap_or_default();
    let namespaces = namespaces::plan(&linux)?;
    let mut all = Vec::new();
    for mount in &spec.mounts {
        let destination = mounts::destination(&mount.destination)?;
        if is_bind(mount)? {
            all.push(External {
                destination,
                source: bundle.join(&mount.source),
            });
        } else if mount.kind == "cgroup" && !namespaces.has(NamespaceKind::Cgroup) {
            // On v1 it is the container's own directory in each hierarchy.
            let directories = cgroup.into_iter().flat_map(Cgroup::v1_directories);
            all.extend(directories.map(|(controllers, source)| External {
                destination: destination.join(hierarchy_name(controllers)),
                source: source.to_owned(),
            }));
        }
    }
    if crate::sys::process::in_user_namespace() || namespaces.has(NamespaceKind::User) {
        let nodes = devices::plan(&linux)?;
        all.extend(nodes.into_iter().map(|node| External {
            destination: node.path.clone(),
            source: node.path,
        }));
    }
    Ok(all)
}

/// Whether a mount of a configuration shows what is on the host.
pub(super) fn is_bind(mount: &Mount) -> Result<bool> {
    Ok(mount.kind == "bind" || options::parse(&mount.options)?.bind.is_some())
}

/// Returns what a dump is told of the mounts of a container whose first process is `pid`: where they are, and what they are
/// called in the images.
pub(super) fn mounts_to_dump(
    spec: &Spec,
    bundle: &Path,
    cgroup: Option<&Cgroup>,
    pid: i32,
) -> Result<Vec<ExternalMount>> {
    let inside = PathBuf::from(format!("/proc/{pid}/root"));
    let root = Root::open(&inside).with_context(|| format!("open {}", inside.display()))?;
    let mut mounts = Vec::new();
    for External { destination, .. } in external(spec, bundle, cgroup)? {
        // Links on the way to it lead to where it really is; what the container has done to them since is its loss.
        let place = place_of(&root, &destination).unwrap_or_else(|| destination.clone());
        mounts.push(mount(&place, &destination)?);
    }
    for path in spec.linux.iter().flat_map(|linux| &linux.masked_paths) {
        let is_directory = |root: &Root| -> Option<bool> {
            let found = statat(root.handle(path).ok()?, "", AtFlags::EMPTY_PATH).ok()?;
            Some(FileType::from_raw_mode(found.st_mode).is_dir())
        };
        // Over a directory is a file system of the container's own.
        if is_directory(&root) == Some(false) {
            let place = place_of(&root, path).unwrap_or_else(|| path.clone());
            mounts.push(mount(&place, Path::new(NULL))?);
        }
    }
    Ok(mounts)
}

/// Returns what a restore is told: names in the images, and what they are on this host.
pub(super) fn mounts_to_restore(
    spec: &Spec,
    bundle: &Path,
    cgroup: Option<&Cgroup>,
) -> Result<Vec<ExternalMount>> {
    let mut mounts = Vec::new();
    for External {
        destination,
        source,
    } in external(spec, bundle, cgroup)?
    {
        mounts.push(mount(&destination, &source)?);
    }
    let masks = spec.linux.as_ref().map(|linux| &linux.masked_paths);
    if masks.is_some_and(|masks| !masks.is_empty()) {
        mounts.push(mount(Path::new(NULL), Path::new(NULL))?);
    }
    Ok(mounts)
}

fn mount(key: &Path, value: &Path) -> Result<ExternalMount> {
    Ok(ExternalMount {
        key: text(key)?,
        value: text(value)?,
    })
}

/// The protocol has no other texts.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        error::invalid(format!(
            "path {} is not UTF-8, which criu needs",
            path.display()
        ))
    })
}

/// Returns where `path` is in the mount namespace that `root` is the root of.
pub(super) fn place_of(root: &Root, path: &Path) -> Option<PathBuf> {
    let handle = root.handle(path).ok()?;
    path_of(handle.as_fd()).ok()
}

/// Returns the namespaces of process `pid` that it shares with others, as CRIU wants to hear of them: they are there at the
/// restore.
pub(super) fn namespaces_to_dump(linux: &Linux, pid: i32) -> Result<Vec<String>> {
    let mut external = Vec::new();
    for (kind, _) in &namespaces::plan(linux)?.joined {
        let Some(key) = key(*kind) else {
            continue;
        };
        let name = namespaces::file_name(*kind);
        let file = format!("/proc/{pid}/ns/{name}");
        let found = rustix::fs::stat(&*file).with_context(|| format!("look at {file}"))?;
        external.push(format!("{name}[{}]:{key}", found.st_ino));
    }
    Ok(external)
}

/// The name in the images of a namespace that is neither saved nor restored; others are joined at the restore.
pub(super) fn key(kind: NamespaceKind) -> Option<&'static str> {
    match kind {
        NamespaceKind::Network => Some("extRootNetNS"),
        NamespaceKind::Pid => Some("extRootPidNS"),
        _ => None,
    }
}

/// Returns the namespaces to join by their files; a cgroup namespace cannot be.
pub(super) fn namespaces_to_join(plan: &Namespaces) -> Result<Vec<(&'static str, String)>> {
    let mut joined = Vec::new();
    for (kind, path) in &plan.joined {
        let name = namespaces::file_name(*kind);
        if *kind == NamespaceKind::Cgroup {
            return Err(error::unavailable(
                "a container that joins a cgroup namespace cannot be restored: criu does not join any",
            ));
        }
        if key(*kind).is_none() {
            joined.push((name, text(path)?));
        }
    }
    if let Some(path) = &plan.joined_user {
        joined.push((namespaces::file_name(NamespaceKind::User), text(path)?));
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        serde_json::from_str(json).unwrap()
    }

    fn pairs(mounts: Vec<ExternalMount>) -> Vec<(String, String)> {
        mounts.into_iter().map(|m| (m.key, m.value)).collect()
    }

    #[test]
    fn binds_and_masks_come_from_the_host() {
        let spec = spec(
            r#"{"ociVersion":"1.2.0","mounts":[
                {"destination":"/proc","type":"proc","source":"proc"},
                {"destination":"/a/../data","source":"vol","options":["rbind","ro"]},
                {"destination":"etc/hosts","type":"bind","source":"/h"},
                {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"}],
              "linux":{"namespaces":[{"type":"mount"}],"maskedPaths":["/proc/kcore"]}}"#,
        );
        let restored = mounts_to_restore(&spec, Path::new("/b"), None).unwrap();
        let expected = [
            ("/data", "/b/vol"),
            ("/etc/hosts", "/h"),
            ("/dev/null", "/dev/null"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs(restored), expected);
    }

    #[test]
    fn namespaces_are_inherited_or_joined() {
        let linux = spec(
            r#"{"ociVersion":"1.2.0","linux":{"namespaces":[{"type":"mount"},{"type":"network","path":"/n"},
                {"type":"ipc","path":"/i"},{"type":"pid"}]}}"#,
        )
        .linux
        .unwrap();
        let plan = namespaces::plan(&linux).unwrap();
        let joined = namespaces_to_join(&plan).unwrap();
        assert_eq!(joined, [("ipc", "/i".to_owned())]);
        let own = i32::try_from(std::process::id()).unwrap();
        let dumped = namespaces_to_dump(&linux, own).unwrap();
        assert_eq!(dumped.len(), 1);
        assert!(
            dumped[0].starts_with("net[4") && dumped[0].ends_with("]:extRootNetNS"),
            "{dumped:?}"
        );
    }
}
