//! Every path of our own on disk, one method each.
//!
//! ```text
//! DATA = /var/lib/aril (0700)
//!   images/                        an OCI image layout
//!     oci-layout  index.json       references, as descriptors with annotations
//!     blobs/sha256/HEX             manifests, configs and layer blobs, byte for byte as received
//!     ingest/HEX.part              downloads and loads that are not complete
//!   layers/HEX/{root/,meta.json}   one unpacked directory per diff ID, immutable after its rename
//!   tops/HEX/{root/,meta.json}     what depends on a stack of layers, per chain ID; never committed
//!   containers/ID/                 record.json state.json upper/ work/ log files hosts hostname resolv.conf
//!   names/NAME -> ../containers/ID one link per container name: creating it is what reserves the name
//!   volumes/NAME/{_data/,volume.json}
//!   networks/ID/network.json
//!   leases/ID                      locked while an operation needs what the file names
//!   damaged/                       what a repair has put aside, because its document cannot be read
//!   tmp/  trash/  locks/           work in progress; what waits to be deleted; lock files
//! RUN = /run/aril (0711)
//!   ID/                            lock (held by the monitor), control (its socket), bundle
//!   ID/execs/EXECID                one empty file per exec session that runs
//!   networks/ID/                   lock; leases/ADDRESS -> ID of the container; names/ID of each container
//!   filters/HASH                   compiled seccomp profiles
//!   links/ID/ID                    which containers have the address of the first one in their hosts file
//! ```
//!
//! Only names that were validated where they entered become part of a path here.

use std::path::{Path, PathBuf};

/// The two roots, and what lies where below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    data: PathBuf,
    run: PathBuf,
}

impl Dirs {
    /// Returns the layout below `data` (kept over reboots) and `run` (gone after a reboot); both absolute.
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Dirs {
        Dirs {
            data: data.into(),
            run: run.into(),
        }
    }

    /// Returns the root of what is kept over reboots.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the root of what does not outlive a reboot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Returns the OCI image layout.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Returns the table of references.
    pub fn index(&self) -> PathBuf {
        self.images().join("index.json")
    }

    /// Returns the directory of the blobs whose digest algorithm is `algorithm` ("sha256", "sha512").
    pub fn blobs(&self, algorithm: &str) -> PathBuf {
        self.images().join("blobs").join(algorithm)
    }

    /// Returns the directory of incomplete blobs.
    pub fn ingest(&self) -> PathBuf {
        self.images().join("ingest")
    }

    /// Returns the directory of all unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// Returns the directory of one unpacked layer; `hex` is the hexadecimal part of its diff ID.
    pub fn layer(&self, hex: &str) -> PathBuf {
        self.layers().join(hex)
    }

    /// Returns the directory of all top layers.
    pub fn tops(&self) -> PathBuf {
        self.data.join("tops")
    }

    /// Returns the directory of all containers.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Returns the directory of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Returns the log of one container, as docker names it.
    pub fn container_log(&self, id: &str) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }

    /// Returns the directory of the links from names to containers.
    pub fn names(&self) -> PathBuf {
        self.data.join("names")
    }

    /// Returns the directory of all volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Returns the directory of all networks.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// Returns the run directory of one network.
    pub fn network_run(&self, id: &str) -> PathBuf {
        self.run.join("networks").join(id)
    }

    /// Returns the directory of compiled seccomp profiles; made on demand.
    pub fn filters(&self) -> PathBuf {
        self.run.join("filters")
    }

    /// Returns the directory of those who know container `id` by a link.
    pub fn links(&self, id: &str) -> PathBuf {
        self.run.join("links").join(id)
    }

    /// Returns the directory of leases.
    pub fn leases(&self) -> PathBuf {
        self.data.join("leases")
    }

    /// Returns the directory for work in progress; on the same file system as everything else below the data root.
    pub fn tmp(&self) -> PathBuf {
        self.data.join("tmp")
    }

    /// Returns the directory of what waits to be deleted.
    pub fn trash(&self) -> PathBuf {
        self.data.join("trash")
    }

    /// Returns the directory of what `system check --repair` has put aside because nobody can read it; made on demand.
    pub fn damaged(&self) -> PathBuf {
        self.data.join("damaged")
    }

    /// Returns the lock file called `name`.
    pub fn lock(&self, name: &str) -> PathBuf {
        self.data.join("locks").join(name)
    }

    /// Returns the journal of events.
    pub fn events(&self) -> PathBuf {
        self.data.join("events.jsonl")
    }

    /// Returns the run directory of one container.
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }

    /// Returns the file whose lock says that the monitor of container `id` lives.
    pub fn monitor_lock(&self, id: &str) -> PathBuf {
        self.container_run(id).join("lock")
    }

    /// Returns the socket on which the monitor of container `id` takes requests.
    pub fn control(&self, id: &str) -> PathBuf {
        self.container_run(id).join("control")
    }

    /// Returns the directory of the exec sessions of container `id`; made with the first one.
    pub fn execs(&self, id: &str) -> PathBuf {
        self.container_run(id).join("execs")
    }

    /// Creates the roots and the directories that every command expects, with their modes.
    pub fn create(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        if self.trash().is_dir() && self.run.is_dir() {
            return Ok(());
        }
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for dir in [
            self.data.clone(),
            self.images(),
            self.blobs("sha256"),
            self.ingest(),
            self.layers(),
            self.tops(),
            self.containers(),
            self.names(),
            self.volumes(),
            self.leases(),
            self.tmp(),
            self.data.join("locks"),
        ] {
            private.create(dir)?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.run)?;
        // Last: its presence says that the others are there.
        private.create(self.trash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_below_their_root() {
        let dirs = Dirs::new("/d", "/r");
        for path in [
            dirs.index(),
            dirs.layer("ab"),
            dirs.container("c"),
            dirs.lock("refs"),
            dirs.trash(),
        ] {
            assert!(path.starts_with("/d"), "{}", path.display());
        }
        for path in [dirs.monitor_lock("c"), dirs.control("c")] {
            assert!(path.starts_with("/r/c"), "{}", path.display());
        }
    }
}
