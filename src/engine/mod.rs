//! The operations: one public function per verb, used by every front alike.
//!
//! An operation takes the [`Engine`] first and an options struct last, returns data and prints nothing. The truth is on
//! disk; an engine holds no state, so any number of them may work at the same time.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;

use crate::container::{Container, Containers};
use crate::dirs::Dirs;
use crate::image::Images;
use crate::network::record::Networks;
use crate::settings::Settings;
use crate::volume::Volumes;

pub mod attach;
pub mod boot;
pub mod check;
pub mod commit;
pub mod copy;
pub mod create;
mod defaults;
pub mod events;
pub mod exec;
pub mod explain;
mod fetch;
pub mod files;
pub mod filter;
pub mod images;
pub mod info;
pub mod inspect;
pub mod lifecycle;
pub mod list;
pub mod login;
pub mod logs;
pub mod machine;
pub mod manifest;
pub mod mirrors;
mod network_defaults;
pub mod networks;
pub mod prune;
pub mod pull;
pub mod push;
pub mod registries;
pub mod repair;
pub mod search;
pub mod serve;
pub mod settle;
pub mod stats;
pub mod system;
pub mod top;
pub mod update;
pub mod usage;
pub mod volumes;
pub mod why;

/// What every operation needs: where things are, and what the administrator has configured.
#[derive(Debug)]
pub struct Engine {
    /// Paths on disk.
    pub dirs: Dirs,
    /// The containers.
    pub containers: Containers,
    /// The volumes.
    pub volumes: Volumes,
    /// The images.
    pub images: Images,
    /// The daemon.json to read; nothing means the first of the default places.
    pub settings_file: Option<PathBuf>,
    /// The folder of docker's `config.json`; nothing means `$DOCKER_CONFIG` or `~/.docker`.
    pub client_config: Option<PathBuf>,
    settings: OnceLock<Settings>,
    networks: OnceLock<Networks>,
}

impl Engine {
    /// Returns an engine over `dirs`, whose directories are made if they are missing; reads nothing.
    pub fn open(dirs: Dirs) -> Result<Engine> {
        use anyhow::Context as _;
        dirs.create()
            .with_context(|| format!("create {}", dirs.data().display()))?;
        Ok(Engine::without_store(dirs))
    }

    /// Returns an engine over `dirs` that need not exist: for what only asks registries, which every user may.
    pub fn without_store(dirs: Dirs) -> Engine {
        Engine {
            containers: Containers::new(&dirs),
            volumes: Volumes::new(&dirs),
            images: Images::open(&dirs),
            networks: OnceLock::new(),
            settings_file: None,
            client_config: None,
            settings: OnceLock::new(),
            dirs,
        }
    }

    /// Returns what daemon.json says, which is read when it is asked for first.
    ///
    /// Errors are those of [`Settings::load`].
    pub fn settings(&self) -> Result<&Settings> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let settings = Settings::load(self.settings_file.as_deref())?;
        Ok(self.settings.get_or_init(|| settings))
    }

    /// Returns the networks; what new ones get is what daemon.json says.
    ///
    /// Errors are those of [`Settings::load`], and `Invalid` for values that are no addresses.
    pub fn networks(&self) -> Result<&Networks> {
        if let Some(networks) = self.networks.get() {
            return Ok(networks);
        }
        let made = Networks::new(&self.dirs, network_defaults::of(self.settings()?)?);
        Ok(self.networks.get_or_init(|| made))
    }

    /// Returns the container that `text` means, after repairing what a crash has left of it.
    ///
    /// Errors are those of [`Containers::resolve`].
    pub fn container(&self, text: &str) -> Result<Container> {
        let id = self.containers.resolve(text)?;
        repair::container(self, self.containers.get(&id)?)
    }
}
