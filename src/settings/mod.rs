//! daemon.json: what the administrator of this machine has decided for all containers and images.
//!
//! ```text
//! --config-file, $ARIL_CONFIG_FILE     that file, which must be there
//! else /etc/aril/daemon.json
//! else /etc/docker/daemon.json         docker's own, so that mirrors which are set up for docker work here too
//! ```
//!
//! The keys are dockerd's ([`keys`] says which have an effect); parts of the engine read the fields of [`Settings`]. A file
//! that is broken is an error of whatever needs it, with the place and the line ([`syntax`]), never half a configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::docker::container::Ulimit;
use crate::error;
use crate::sys::limited;

mod document;
pub mod keys;
pub mod syntax;
mod values;

pub use document::parse;
pub use values::binary_size;

use document::{complaint, place};

/// aril's own file.
pub const OWN_FILE: &str = "/etc/aril/daemon.json";
/// The file that is read if there is none of aril's own.
pub const DOCKER_FILE: &str = "/etc/docker/daemon.json";
/// A larger file is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// What is configured; a field that the file leaves out has its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// Mirrors of Docker Hub, URLs, in the order in which they are tried.
    pub registry_mirrors: Vec<String>,
    /// Registries that may be spoken to without verified TLS: `host`, `host:port` or a network in CIDR form.
    pub insecure_registries: Vec<String>,
    /// Layers that are fetched at the same time; 0 means the default.
    pub max_concurrent_downloads: usize,
    /// Layers that are sent at the same time; 0 means the default.
    pub max_concurrent_uploads: usize,
    /// How often a download is tried; 0 means the default.
    pub max_download_attempts: u32,
    /// Proxies for registries, where the environment names none.
    pub proxies: Proxies,
    /// Where everything is kept; only heeded in aril's own file.
    #[serde(alias = "graph")]
    pub data_root: Option<PathBuf>,
    /// Log driver of containers that ask for none.
    pub log_driver: String,
    /// Its options.
    pub log_opts: BTreeMap<String, String>,
    /// Name servers of containers.
    pub dns: Vec<String>,
    /// Resolver options of containers.
    pub dns_opts: Vec<String>,
    /// Search domains of containers.
    pub dns_search: Vec<String>,
    /// Resource limits of containers, by name.
    pub default_ulimits: BTreeMap<String, Ulimit>,
    /// Bytes of /dev/shm; nothing means 64 MiB.
    #[serde(deserialize_with = "values::size")]
    pub default_shm_size: Option<i64>,
    /// `private` or `shareable`.
    pub default_ipc_mode: String,
    /// `private` or `host`.
    pub default_cgroupns_mode: String,
    /// Cgroup above those of containers.
    pub cgroup_parent: String,
    /// `key=value` for the runtime.
    pub exec_opts: Vec<String>,
    /// Whether containers get an init as process 1.
    pub init: bool,
    /// Whether programs of containers may not gain privileges.
    pub no_new_privileges: bool,
    /// File of the seccomp profile, `builtin` or `unconfined`; empty means the built-in one.
    pub seccomp_profile: String,
    /// `key=value` labels of the engine.
    pub labels: Vec<String>,
    /// `overlay2`.
    pub storage_driver: String,
    /// Address and network of the default bridge, `172.17.0.1/16`.
    pub bip: String,
    /// The same for IPv6.
    pub bip6: String,
    /// A bridge of the host's in place of the default one; `none` is no default network.
    pub bridge: String,
    /// Where networks without a subnet get theirs from.
    pub default_address_pools: Vec<AddressPool>,
    /// Gateway of the default bridge.
    pub default_gateway: Option<IpAddr>,
    /// The same for IPv6.
    pub default_gateway_v6: Option<IpAddr>,
    /// Options of new networks, by driver.
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    /// Addresses of containers on the default bridge.
    pub fixed_cidr: String,
    /// The same for IPv6.
    pub fixed_cidr_v6: String,
    /// What `host-gateway` stands for.
    pub host_gateway_ip: Option<IpAddr>,
    /// The same, one per family.
    pub host_gateway_ips: Vec<IpAddr>,
    /// Whether containers on the default bridge reach one another; nothing means yes.
    pub icc: Option<bool>,
    /// Address on which ports are published that do not say one.
    pub ip: Option<IpAddr>,
    /// Whether packets may be routed directly to containers' ports that are not published.
    pub allow_direct_routing: bool,
    /// Whether forwarding of packets is switched on; nothing means yes.
    pub ip_forward: Option<bool>,
    /// Whether the host goes on forwarding other packets when forwarding is switched on.
    pub ip_forward_no_drop: bool,
    /// Whether addresses of containers are translated; nothing means yes.
    pub ip_masq: Option<bool>,
    /// Whether packet filter rules are made; nothing means yes.
    pub iptables: Option<bool>,
    /// The same for IPv6.
    pub ip6tables: Option<bool>,
    /// Whether the default bridge has IPv6.
    pub ipv6: bool,
    /// Largest packet of the default bridge, bytes; 0 means the host's.
    pub mtu: u32,
    /// Whether published ports are served on loopback by a proxy; nothing means where rules cannot.
    pub userland_proxy: Option<bool>,
    /// The file all this is from; nothing if there is none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// What the file asks for that has no effect, a sentence each.
    #[serde(skip)]
    pub ignored: Vec<String>,
    /// What would have to be in effect for containers to be as isolated as the file says, a sentence each.
    #[serde(skip)]
    pub unmet: Vec<String>,
}

/// Proxies for registries.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Proxies {
    /// For http.
    pub http_proxy: String,
    /// For https.
    pub https_proxy: String,
    /// Hosts that are reached directly, commas between.
    pub no_proxy: String,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may hold a password.
        let shown = |text: &str| {
            if text.contains('@') {
                "***".to_owned()
            } else {
                text.to_owned()
            }
        };
        f.debug_struct("Proxies")
            .field("http_proxy", &shown(&self.http_proxy))
            .field("https_proxy", &shown(&self.https_proxy))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// Where networks get their subnets from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AddressPool {
    /// Network in CIDR form.
    pub base: String,
    /// Bits of each subnet's prefix.
    pub size: u8,
}

/// Who makes the cgroups of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// We do, in the cgroup file system.
    #[default]
    Cgroupfs,
    /// systemd does, a scope for each container.
    Systemd,
}

impl CgroupDriver {
    /// Returns the name that options and documents have for it.
    pub fn name(self) -> &'static str {
        match self {
            CgroupDriver::Cgroupfs => "cgroupfs",
            CgroupDriver::Systemd => "systemd",
        }
    }
}

impl Settings {
    /// Reads `file`, which must exist, or without it the first of the two default places that exists.
    ///
    /// Errors are of kind `Invalid` if something is wrong in the file, with a hint that says what to do.
    pub fn load(file: Option<&Path>) -> Result<Settings> {
        if let Some(file) = file {
            let missing = || error::not_found(format!("open {}: no such file", file.display()));
            return parse(&read(file)?.ok_or_else(missing)?, file);
        }
        for file in [OWN_FILE, DOCKER_FILE].map(Path::new) {
            if let Some(text) = read(file)? {
                return parse(&text, file);
            }
        }
        Ok(Settings::default())
    }

    /// Returns whether what is configured comes from docker's own file.
    pub fn is_dockers(&self) -> bool {
        self.file.as_deref() == Some(Path::new(DOCKER_FILE))
    }

    /// Returns who makes the cgroups of containers.
    pub fn cgroup_driver(&self) -> CgroupDriver {
        let is_systemd = |option: &String| {
            values::cgroup_driver(option)
                .is_some_and(|driver| driver == CgroupDriver::Systemd.name())
        };
        if self.exec_opts.iter().any(is_systemd) {
            CgroupDriver::Systemd
        } else {
            CgroupDriver::Cgroupfs
        }
    }

    /// Refuses to make containers that would be less isolated than the file says.
    ///
    /// The error is of kind `Unavailable`.
    pub fn check_isolation(&self) -> Result<()> {
        let Some(unmet) = self.unmet.first() else {
            return Ok(());
        };
        let hint = if self.is_dockers() {
            format!("aril reads {OWN_FILE} in place of {DOCKER_FILE}; write one without this key")
        } else {
            "take the key out of the file if containers may run without it".to_owned()
        };
        Err(error::with_hint(error::unavailable(unmet.clone()), hint))
    }
}

/// Returns the `data-root` of `file`, or without it that of aril's own file; docker's data is docker's.
///
/// The error is of kind `Invalid` if it is not an absolute path, or if the file is broken: another root than the one that
/// was meant would look as if everything were lost.
pub fn data_root(file: Option<&Path>) -> Result<Option<PathBuf>> {
    let file = file.unwrap_or(Path::new(OWN_FILE));
    let Some(text) = read(file)? else {
        return Ok(None);
    };
    // Most files say nothing about it, and every command asks.
    if !text.contains("\"data-root\"") && !text.contains("\"graph\"") {
        return Ok(None);
    }
    let root = parse(&text, file)?.data_root;
    if let Some(root) = root.as_deref().filter(|root| !root.is_absolute()) {
        let root = Value::from(root.to_string_lossy());
        let what = format!("the folder {root} is not an absolute path");
        let mistake = place(
            &text,
            "data-root",
            None,
            what,
            "write a path that begins with /".to_owned(),
        );
        return Err(complaint(file, &mistake));
    }
    Ok(root)
}

/// Returns the text of the file; nothing if there is no such file.
fn read(file: &Path) -> Result<Option<String>> {
    let context = || format!("read {}", file.display());
    let opened = match std::fs::File::open(file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        opened => opened.with_context(context)?,
    };
    let bytes = limited::read_to_end(opened, MAX_BYTES).with_context(context)?;
    let bytes = bytes
        .ok_or_else(|| error::invalid(format!("larger than {MAX_BYTES} bytes")))
        .with_context(context)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let what = "this is not UTF-8";
            let remedy = "save the file as UTF-8 (in most editors: Save As, Encoding)";
            Err(complaint(file, &syntax::mistake(&text, at, what, remedy)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        parse(text, Path::new("/d.json"))
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let error = Settings::load(Some(Path::new("/nonexistent/d.json"))).unwrap_err();
        assert!(error::is(&error, error::Kind::NotFound));
        let settings = Settings::load(Some(Path::new("/dev/null"))).unwrap();
        assert_eq!(settings.file.as_deref(), Some(Path::new("/dev/null")));
    }

    #[test]
    fn passwords_of_proxies_are_not_printed() {
        let settings =
            read(r#"{"proxies": {"https-proxy": "http://me:secret@proxy.example.com"}}"#).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
