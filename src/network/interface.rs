//! What an endpoint or its network asks of the interface in the container: its name, else `eth0`, and settings of the kernel.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::docker::network::EndpointSettings;
use crate::error;

/// The kernel's limit on names of interfaces.
const NAME_MAX_BYTES: usize = 15;
/// Option of an endpoint: the interface's name.
const OPTION_NAME: &str = "com.docker.network.endpoint.ifname";
/// Option of a network: what the interfaces' names begin with.
pub(super) const OPTION_PREFIX: &str = "com.docker.network.container_iface_prefix";
const PREFIX: &str = "eth";
/// Option of an endpoint: settings of the kernel for its interface, `net.ipv4.conf.IFNAME.forwarding=1`, commas between.
const OPTION_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// Stands for the interface's name.
const PLACEHOLDER: &str = "ifname";

/// Refuses what cannot be the name of an interface; the error is of kind `Invalid`.
pub(super) fn check(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let valid = bytes.all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    if !valid || name.len() > NAME_MAX_BYTES || matches!(name, "" | "." | "..") {
        let why = format!("{name:?} cannot be the name of an interface");
        return Err(error::invalid(why));
    }
    Ok(())
}

/// Returns the name that the interface of an endpoint gets beside the interfaces `taken` of the same container; `prefix` is
/// what its network says of [`OPTION_PREFIX`].
///
/// Errors: `Invalid` for a name that none can have, `Conflict` for one that another has.
pub(super) fn name(
    prefix: Option<&str>,
    settings: &EndpointSettings,
    taken: &[&str],
) -> Result<String> {
    let options = settings.driver_opts.as_ref();
    if let Some(name) = options.and_then(|options| options.get(OPTION_NAME)) {
        check(name)?;
        if name == "lo" || taken.contains(&name.as_str()) {
            let why = format!("the container has an interface {name} already");
            return Err(error::conflict(why));
        }
        return Ok(name.clone());
    }
    let prefix = prefix.unwrap_or(PREFIX);
    let mut names = (0..=taken.len()).map(|number| format!("{prefix}{number}"));
    let free = names.find(|name| !taken.contains(&name.as_str()));
    let name = free.expect("one of more names than are taken is free");
    check(&name)?;
    Ok(name)
}

/// A setting of the kernel for an interface: `/proc/sys/net/ipv4/conf/eth0/forwarding` and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    /// As it was asked for, with small letters.
    name: String,
    value: Option<String>,
}

impl Sysctl {
    /// Returns the settings that an endpoint asks for, or those that can be none, in docker's words.
    pub(super) fn all(settings: &EndpointSettings) -> Result<Vec<Sysctl>, Vec<String>> {
        let options = settings.driver_opts.as_ref();
        let Some(text) = options.and_then(|options| options.get(OPTION_SYSCTLS)) else {
            return Ok(Vec::new());
        };
        let (mut sysctls, mut faults) = (Vec::new(), Vec::new());
        for text in text.split(',') {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let name = name.to_lowercase();
            if is_sysctl(&name) {
                sysctls.push(Sysctl { name, value });
                continue;
            }
            let shown = value.map_or(name.clone(), |value| format!("{name}={value}"));
            faults.push(format!(
                "unrecognised network interface sysctl '{shown}'; represent 'net.X.Y.ethN.Z=V' as \
                 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ));
        }
        if faults.is_empty() {
            Ok(sysctls)
        } else {
            Err(faults)
        }
    }

    /// Sets it for `interface` in the network namespace of the calling thread.
    pub(super) fn set(&self, interface: &str) -> Result<()> {
        let Some(value) = &self.value else {
            let name = &self.name;
            anyhow::bail!("expected sysctl '{name}' to have format name=value");
        };
        // Parts of a name have neither slashes nor dots, and an interface's name no slash.
        let mut path = PathBuf::from("/proc/sys");
        path.extend((self.name.split('.')).map(|part| match part {
            PLACEHOLDER => interface,
            part => part,
        }));
        let shown = path.display();
        if !path.is_file() {
            anyhow::bail!("{shown} is not a sysctl file");
        }
        std::fs::write(&path, value)
            .with_context(|| format!("unable to write to '{shown}': write {shown}"))
    }
}

/// Returns whether a name has the form `net.ipv4.conf.ifname.forwarding`.
fn is_sysctl(name: &str) -> bool {
    let plain = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let parts: Vec<&str> = name.split('.').collect();
    matches!(parts[..], ["net", "ipv4" | "ipv6" | "mpls", kind, PLACEHOLDER, setting]
        if plain(kind) && plain(setting) && setting != PLACEHOLDER && kind != PLACEHOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_interface() {
        for (name, good) in [
            ("net.ipv4.conf.ifname.forwarding", true),
            ("net.ipv6.neigh.ifname.retrans_time_ms", true),
            ("net.ipv4.conf.eth0.forwarding", false),
            ("net.ipv4.ip_forward", false),
            ("net.core.conf.ifname.x", false),
            ("kernel.x.ifname.y", false),
            ("net.ipv4.conf.ifname", false),
            ("net.ipv4.conf.ifname.", false),
            ("net.ipv4..ifname.x", false),
            ("net.ipv4.conf.ifname./../all/x", false),
            ("net.ipv4.conf/../..ifname.x", false),
            ("", false),
        ] {
            assert_eq!(is_sysctl(name), good, "{name}");
        }
        let mut settings = EndpointSettings::default();
        let asked = "net.ipv4.conf.IFNAME.forwarding=1,net.ipv4.x";
        settings.driver_opts = Some([(OPTION_SYSCTLS.to_owned(), asked.to_owned())].into());
        assert_eq!(Sysctl::all(&settings).unwrap_err().len(), 1);
    }

    #[test]
    fn names_are_free_and_possible() {
        let check = |prefix: &str, asked: &str, taken: &[&str], want: Result<&str, &str>| {
            let mut settings = EndpointSettings::default();
            if !asked.is_empty() {
                settings.driver_opts = Some([(OPTION_NAME.to_owned(), asked.to_owned())].into());
            }
            let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
            let found = name(prefix, &settings, taken).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), want);
        };
        check("", "", &[], Ok("eth0"));
        check("", "", &["eth0", "lan", "eth2"], Ok("eth1"));
        check("", "lan", &["eth0"], Ok("lan"));
        check("tun", "", &["eth0"], Ok("tun0"));
        let taken = "the container has an interface lan already";
        check("", "lan", &["lan"], Err(taken));
        let impossible = "\"a/b\" cannot be the name of an interface";
        check("", "a/b", &[], Err(impossible));
        let long = "\"a23456789012345\" cannot be the name of an interface";
        check("", "a23456789012345", &[], Ok("a23456789012345"));
        check("a2345678901234", "", &[], Ok("a23456789012340"));
        check(
            "a23456789012345",
            "",
            &[],
            Err(&long.replace("45\"", "450\"")),
        );
    }
}
