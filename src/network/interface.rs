//! Names of interfaces in containers: `eth0`, or what the endpoint or its network asks for.

use anyhow::Result;

use crate::docker::network::EndpointSettings;
use crate::error;

/// The kernel's limit on names of interfaces.
const NAME_MAX_BYTES: usize = 15;
/// Option of an endpoint: the interface's name.
const OPTION_NAME: &str = "com.docker.network.endpoint.ifname";
/// Option of a network: what the interfaces' names begin with.
pub(super) const OPTION_PREFIX: &str = "com.docker.network.container_iface_prefix";
const PREFIX: &str = "eth";

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

#[cfg(test)]
mod tests {
    use super::*;

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
