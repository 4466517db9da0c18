//! Values of daemon.json that have a form of their own, and what they may be.

use std::net::IpAddr;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

use super::{CgroupDriver, Settings};

/// A value that cannot be.
pub(super) struct Wrong {
    /// Whose value it is.
    pub(super) key: &'static str,
    /// As it is written in the file.
    pub(super) value: String,
    /// What is wrong with it.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: String,
}

/// Reads a number of bytes, or a text such as `64M`, whose units are powers of 1024.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    const EXPECTED: &str = "a size such as \"64M\"";
    let wrong = || D::Error::custom(format!("expected {EXPECTED}"));
    match Value::deserialize(deserializer)? {
        Value::Number(bytes) => bytes.as_i64().map(Some).ok_or_else(wrong),
        Value::String(text) => binary_size(&text).map(Some).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// Reads a number of bytes, with or without a unit that is a power of 1024: `64M`, `1GiB`.
pub fn binary_size(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    let (number, power) = match lower.char_indices().next_back()? {
        (at, unit @ ('k' | 'm' | 'g' | 't')) => (&lower[..at], " kmgt".find(unit)?),
        _ => (lower, 0),
    };
    let number: i64 = number.trim_end().parse().ok()?;
    number
        .checked_mul(1 << (10 * power))
        .filter(|bytes| *bytes >= 0)
}

/// Checks what the types do not say.
pub(super) fn check(settings: &Settings) -> Result<(), Wrong> {
    for url in &settings.registry_mirrors {
        mirror(url)?;
    }
    for (key, urls) in [
        ("https-proxy", &settings.proxies.https_proxy),
        ("http-proxy", &settings.proxies.http_proxy),
    ] {
        if !urls.is_empty() && urls.contains(char::is_whitespace) {
            return Err(wrong(
                key,
                urls,
                format!("{key} is no URL"),
                "write http://HOST:PORT",
            ));
        }
    }
    for (key, networks) in [
        ("bip", &settings.bip),
        ("bip6", &settings.bip6),
        ("fixed-cidr", &settings.fixed_cidr),
        ("fixed-cidr-v6", &settings.fixed_cidr_v6),
    ] {
        if !networks.is_empty() && !is_network(networks) {
            return Err(wrong(
                key,
                networks,
                format!("{key} is no network"),
                "write ADDRESS/BITS, such as 172.17.0.1/16",
            ));
        }
    }
    for pool in &settings.default_address_pools {
        if !is_network(&pool.base) {
            let what = format!("the base {:?} of an address pool is no network", pool.base);
            return Err(wrong(
                "default-address-pools",
                &pool.base,
                what,
                "write ADDRESS/BITS, such as 10.200.0.0/16",
            ));
        }
    }
    for address in &settings.dns {
        if address.parse::<IpAddr>().is_err() {
            let what = format!("the name server {address:?} is no address");
            return Err(wrong(
                "dns",
                address,
                what,
                "write an address such as 192.0.2.53",
            ));
        }
    }
    for (key, value, known) in [
        (
            "default-ipc-mode",
            &settings.default_ipc_mode,
            ["private", "shareable"],
        ),
        (
            "default-cgroupns-mode",
            &settings.default_cgroupns_mode,
            ["private", "host"],
        ),
    ] {
        if !value.is_empty() && !known.contains(&value.as_str()) {
            let remedy = format!("write {:?} or {:?}", known[0], known[1]);
            return Err(wrong(
                key,
                value,
                format!("{key} cannot be {value:?}"),
                &remedy,
            ));
        }
    }
    settings
        .exec_opts
        .iter()
        .try_for_each(|option| exec_option(option))
}

fn exec_option(option: &str) -> Result<(), Wrong> {
    let known = [CgroupDriver::Cgroupfs, CgroupDriver::Systemd].map(CgroupDriver::name);
    match cgroup_driver(option) {
        Some(driver) if !driver.is_empty() && !known.contains(&driver) => {
            let what = format!("native.cgroupdriver option {driver} not supported");
            let remedy = format!("write {:?} or {:?}", known[0], known[1]);
            Err(wrong("exec-opts", option, what, &remedy))
        }
        _ => Ok(()),
    }
}

/// Returns the value of an option in `exec-opts` that says who makes cgroups; nothing for another option.
pub(super) fn cgroup_driver(option: &str) -> Option<&str> {
    let (name, value) = option.split_once('=')?;
    (name.trim().eq_ignore_ascii_case("native.cgroupdriver")).then(|| value.trim())
}

fn wrong(key: &'static str, value: &str, what: String, remedy: &str) -> Wrong {
    Wrong {
        key,
        value: value.to_owned(),
        what,
        remedy: remedy.to_owned(),
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn mirror(url: &str) -> Result<(), Wrong> {
    let refuse = |what: String, remedy: &str| Err(wrong("registry-mirrors", url, what, remedy));
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse(
            format!("the mirror {url} is no URL"),
            &format!("write https://{url}"),
        );
    };
    if !matches!(scheme, "http" | "https") {
        return refuse(
            format!("the mirror {url} is neither http:// nor https://"),
            &format!("write https://{rest}"),
        );
    }
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || rest.contains(char::is_whitespace) {
        return refuse(
            format!("the mirror {url:?} is no URL"),
            "write https://HOST, without blanks",
        );
    }
    if host.contains('@') {
        return refuse(
            "a mirror's URL holds a user".to_owned(),
            "take the user away, and log in with aril login HOST",
        );
    }
    if rest.contains(['?', '#']) {
        return refuse(
            format!("the mirror {url} ends in a query or fragment"),
            "take away what follows ? or #",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("64M", Some(64 << 20)),
            ("64m", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2 kb", Some(2048)),
            ("10", Some(10)),
            ("", None),
            ("M", None),
            ("-1", None),
            ("9999999999999999t", None),
        ] {
            assert_eq!(binary_size(text), want, "{text}");
        }
    }

    #[test]
    fn mirrors() {
        for (url, good) in [
            ("https://a", true),
            ("http://a:5000/", true),
            ("https://a/path", true),
            ("a", false),
            ("ftp://a", false),
            ("https://u:p@a", false),
            ("https://a?x=1", false),
            ("https://", false),
            ("https:// a", false),
        ] {
            assert_eq!(mirror(url).is_ok(), good, "{url}");
        }
        let wrong = mirror("https://me:secret@a").err();
        assert!(wrong.is_some_and(|wrong| !wrong.what.contains("secret")));
    }
}
