//! Devices of the host that a container gets: those of `--device`, or all for a privileged one.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::container::spec::HostDevice;
use crate::docker::container::{DeviceMapping, HostConfig, Resources};
use crate::error;
use crate::oci::runtime::linux::Device;

/// What a privileged container makes anew or must not share.
const PRIVATE: [&str; 6] = ["pts", "shm", "mqueue", "fd", "console", "ptmx"];
/// How deep directories of devices are looked through.
const DEPTH_MAX: usize = 8;

/// Returns the nodes that `host` asks for.
pub fn of_host(host: &HostConfig) -> Result<Vec<HostDevice>> {
    let mut devices = Vec::new();
    if host.privileged {
        collect(Path::new("/dev"), Path::new("/dev"), "rwm", &mut devices, 0)?;
        devices.retain(|device| !is_private(&device.node.path));
    }
    for mapping in &host.resources.devices {
        let gather = || {
            format!(
                "error gathering device information while adding custom device {:?}",
                mapping.path_on_host
            )
        };
        add(mapping, &mut devices).with_context(gather)?;
    }
    Ok(devices)
}

fn is_private(path: &Path) -> bool {
    let first = path
        .strip_prefix("/dev")
        .ok()
        .and_then(|inner| inner.iter().next());
    first.is_some_and(|name| PRIVATE.iter().any(|private| name == *private))
}

fn add(mapping: &DeviceMapping, devices: &mut Vec<HostDevice>) -> Result<()> {
    let source = std::fs::canonicalize(&mapping.path_on_host)?;
    let target = Path::new(&mapping.path_in_container);
    if source.is_dir() {
        return collect(&source, target, &mapping.cgroup_permissions, devices, 0);
    }
    match node(&source, target, &mapping.cgroup_permissions)? {
        Some(device) => devices.push(device),
        None => return Err(error::invalid("not a device node")),
    }
    Ok(())
}

/// Adds all nodes below `source` as if they were below `target`.
fn collect(
    source: &Path,
    target: &Path,
    access: &str,
    devices: &mut Vec<HostDevice>,
    depth: usize,
) -> Result<()> {
    let entries =
        std::fs::read_dir(source).with_context(|| format!("list {}", source.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", source.display()))?;
        let (source, target) = (entry.path(), target.join(entry.file_name()));
        // Nodes come and go while this looks.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && depth < DEPTH_MAX && !is_private(&source) {
            collect(&source, &target, access, devices, depth + 1)?;
        } else if let Ok(Some(device)) = node(&source, &target, access) {
            devices.push(device);
        }
    }
    Ok(())
}

/// Returns the node at `source` as the container sees it at `target`; nothing if it is none.
fn node(source: &Path, target: &Path, access: &str) -> Result<Option<HostDevice>> {
    let meta = std::fs::symlink_metadata(source)?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return Ok(None),
    };
    let (major, minor) = numbers(meta.rdev());
    Ok(Some(HostDevice {
        node: Device {
            kind: kind.to_owned(),
            path: PathBuf::from(target),
            major,
            minor,
            file_mode: Some(meta.mode() & 0o7777),
            uid: Some(meta.uid()),
            gid: Some(meta.gid()),
        },
        access: access.to_owned(),
    }))
}

fn numbers(device: u64) -> (i64, i64) {
    (
        i64::from(rustix::fs::major(device)),
        i64::from(rustix::fs::minor(device)),
    )
}

/// Returns the numbers of the block devices that limits name.
pub fn limited(resources: &Resources) -> Result<BTreeMap<String, (i64, i64)>> {
    let throttled = [
        &resources.blkio_device_read_bps,
        &resources.blkio_device_write_bps,
        &resources.blkio_device_read_iops,
        &resources.blkio_device_write_iops,
    ];
    let paths = resources
        .blkio_weight_device
        .iter()
        .map(|device| &device.path);
    let paths = paths.chain(throttled.into_iter().flatten().map(|device| &device.path));
    paths
        .map(|path| {
            let meta = std::fs::metadata(path).with_context(|| format!("limit device {path:?}"))?;
            Ok((path.clone(), numbers(meta.rdev())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str) -> Result<Vec<HostDevice>> {
        let mut host = HostConfig::default();
        host.resources.devices.push(DeviceMapping {
            path_on_host: path.into(),
            path_in_container: "/dev/x".into(),
            cgroup_permissions: "rw".into(),
        });
        of_host(&host)
    }

    #[test]
    fn nodes_keep_their_numbers_and_get_their_place() {
        let devices = asked("/dev/null").unwrap();
        let node = &devices[0].node;
        assert_eq!((node.kind.as_str(), node.major, node.minor), ("c", 1, 3));
        assert_eq!(
            (node.path.as_path(), devices[0].access.as_str()),
            (Path::new("/dev/x"), "rw")
        );
    }

    #[test]
    fn what_is_no_node_is_refused() {
        assert!(format!("{:#}", asked("/etc/passwd").unwrap_err()).contains("not a device node"));
        assert!(format!("{:#}", asked("/dev/nosuch").unwrap_err()).contains("No such file"));
    }

    #[test]
    fn a_privileged_container_gets_all_but_what_is_its_own() {
        let devices = of_host(&HostConfig {
            privileged: true,
            ..HostConfig::default()
        })
        .unwrap();
        let has = |path: &str| {
            devices
                .iter()
                .any(|device| device.node.path == Path::new(path))
        };
        assert!(has("/dev/null") && !has("/dev/ptmx") && !has("/dev/pts/ptmx"));
    }
}
