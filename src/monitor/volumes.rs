//! The file systems that a container's volumes stand for: mounted while it runs, or while somebody looks into it.

use anyhow::Result;

use crate::container::Record;
use crate::dirs::Dirs;
use crate::error;
use crate::volume::Volumes;
use crate::volume::mounted::Use;

/// Mounts what the volumes of a container need; on an error nothing of it stays.
pub fn mount(dirs: &Dirs, record: &Record) -> Result<Vec<Use>> {
    let volumes = Volumes::new(dirs);
    let mut used = Vec::new();
    for mount in record.mounts.iter().filter(|it| it.kind == "volume") {
        match volumes.mount(&mount.name) {
            Ok(mounted) => used.extend(mounted),
            Err(error) => {
                release(dirs, used);
                return Err(error);
            }
        }
    }
    Ok(used)
}

/// Takes away what nobody else uses.
pub fn release(dirs: &Dirs, used: Vec<Use>) {
    let volumes = Volumes::new(dirs);
    for ended in used {
        if let Err(error) = volumes.release(ended) {
            tracing::warn!("leave a volume mounted: {}", error::line(&error));
        }
    }
}
