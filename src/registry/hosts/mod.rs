//! Which places are asked for what a registry has, and how: daemon.json, hosts.toml and certs.d → [`Endpoint`]s.
//!
//! ```text
//! order   hosts of hosts.toml, as they stand there → registry-mirrors (Docker Hub only) → the registry itself
//! TLS     certs.d/HOST[:PORT]: *.crt are authorities, NAME.cert with NAME.key is shown to a registry that asks
//!         insecure-registries, loopback: any certificate, and plain HTTP if there is none
//! ```
//!
//! Whatever is read is read by [`endpoints`]; [`plan`] decides, and is pure. Each place has the key of its own host for its
//! credentials, so that what is kept for a registry never reaches one of its mirrors.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::credentials::{self, LookUp};
use super::endpoint::{
    self, CONNECT_TIMEOUT, Capabilities, Endpoint, HUB_HOST, MIRROR_CONNECT_TIMEOUT, Proxies,
    Secret, Tls,
};
use crate::oci::reference::DEFAULT_REGISTRY;
use crate::settings::Settings;

mod certificates;
mod document;

pub use certificates::Certificates;
pub use document::{Document, Host};

/// The variable that says, in seconds, how long a connection may be silent.
const STALL_VARIABLE: &str = "ARIL_STALL_TIMEOUT";

/// Folders in which each registry may have one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Those of certificates.
    pub certificates: Vec<PathBuf>,
    /// Those of `hosts.toml`; the first that has one for a registry counts.
    pub hosts: Vec<PathBuf>,
}

impl Folders {
    /// Returns the folders that belong to a daemon.json: the `certs.d` beside one that was asked for, else those of aril,
    /// docker and containerd.
    pub fn beside(settings_file: Option<&Path>) -> Folders {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        match settings_file.and_then(Path::parent) {
            Some(dir) => Folders {
                certificates: vec![dir.join("certs.d")],
                hosts: vec![dir.join("certs.d")],
            },
            None => Folders {
                certificates: paths(&["/etc/aril/certs.d", "/etc/docker/certs.d"]),
                hosts: paths(&["/etc/aril/certs.d", "/etc/containerd/certs.d"]),
            },
        }
    }
}

/// Everything that decides over the endpoints of one registry.
pub struct Sources<'a> {
    /// `registry-mirrors`.
    pub mirrors: &'a [String],
    /// `insecure-registries`.
    pub insecure: &'a [String],
    /// The registry's `hosts.toml`.
    pub hosts: Option<Document>,
    /// Sent to the registry itself.
    pub headers: Vec<(String, Secret)>,
    /// Returns the addresses of a host; asked only where networks are listed as insecure.
    pub addresses: &'a dyn Fn(&str) -> Vec<IpAddr>,
}

/// Reads what is configured for `registry` (`docker.io`, `registry.example.com:5000`), and returns its endpoints in the
/// order in which they are asked.
///
/// Errors are of kind `Invalid`: a file is broken, or half of a pair of certificate and key is missing.
pub fn endpoints(
    registry: &str,
    settings: &Settings,
    headers: Vec<(String, Secret)>,
    folders: &Folders,
) -> Result<Vec<Endpoint>> {
    let sources = Sources {
        mirrors: &settings.registry_mirrors,
        insecure: &settings.insecure_registries,
        hosts: document::find(&folders.hosts, registry)?,
        headers,
        addresses: &addresses,
    };
    let mut endpoints = plan(registry, &sources);
    for endpoint in &mut endpoints {
        let found = certificates::read(&folders.certificates, authority(&endpoint.base))?;
        endpoint.tls.authorities.extend(found.authorities);
        endpoint.tls.identities.extend(found.identities);
    }
    Ok(endpoints)
}

/// Returns the endpoints of `registry`, without what certs.d adds.
pub fn plan(registry: &str, sources: &Sources<'_>) -> Vec<Endpoint> {
    let own = if registry == DEFAULT_REGISTRY {
        HUB_HOST
    } else {
        registry
    };
    let document = sources.hosts.clone().unwrap_or_default();
    let from_file = |url: &str, host: &Host, is_server: bool| {
        let base = base(url, host.override_path);
        let name = authority(&base).to_owned();
        let known = name == own;
        Endpoint {
            capabilities: host.capabilities,
            namespace: (!known).then(|| registry.to_owned()),
            credentials: Some(credentials::key(&name)),
            tls: Tls {
                insecure: is_insecure(&name, sources),
                any_certificate: host.skip_verify,
                authorities: host.authorities.clone(),
                identities: host.identities.clone(),
            },
            headers: host.headers.clone(),
            connect_timeout: host.dial_timeout.unwrap_or(if is_server {
                CONNECT_TIMEOUT
            } else {
                MIRROR_CONNECT_TIMEOUT
            }),
            base,
        }
    };
    let mut list: Vec<Endpoint> = document
        .hosts
        .iter()
        .map(|(url, host)| from_file(url, host, false))
        .collect();
    if registry == DEFAULT_REGISTRY {
        list.extend(sources.mirrors.iter().map(|url| mirror(url, sources)));
    }
    let url = document.server.unwrap_or_else(|| format!("https://{own}"));
    let mut server = from_file(&url, &document.own, true);
    server.headers.extend(sources.headers.iter().cloned());
    list.push(server);
    list
}

fn mirror(url: &str, sources: &Sources<'_>) -> Endpoint {
    let base = base(url, false);
    let name = authority(&base).to_owned();
    Endpoint {
        capabilities: Capabilities::MIRROR,
        namespace: None,
        credentials: Some(credentials::key(&name)),
        tls: Tls {
            insecure: is_insecure(&name, sources),
            ..Tls::default()
        },
        headers: Vec::new(),
        connect_timeout: MIRROR_CONNECT_TIMEOUT,
        base,
    }
}

/// Completes an address: its scheme, which may be left out, and the path of the protocol's second version.
fn base(url: &str, whole: bool) -> String {
    let url = url.trim_end_matches('/');
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    if whole || url.ends_with("/v2") {
        url
    } else {
        format!("{url}/v2")
    }
}

/// Returns host and port of an address.
fn authority(url: &str) -> &str {
    credentials::host(url)
}

/// Splits off the port: `[::1]:5000` → `::1`.
fn host_name(authority: &str) -> &str {
    if let Some(inner) = authority.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            host
        }
        _ => authority,
    }
}

fn is_insecure(authority: &str, sources: &Sources<'_>) -> bool {
    let host = host_name(authority);
    let literal: Option<IpAddr> = host.parse().ok();
    if host.eq_ignore_ascii_case("localhost")
        || literal.is_some_and(|address| address.is_loopback())
    {
        return true;
    }
    let rules = sources.insecure.iter().map(|rule| {
        // dockerd takes a scheme away, too.
        let rest = rule
            .strip_prefix("http://")
            .or_else(|| rule.strip_prefix("https://"));
        rest.unwrap_or(rule).trim_end_matches('/')
    });
    let (networks, names): (Vec<&str>, Vec<&str>) = rules.partition(|rule| network(rule).is_some());
    if names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(authority))
    {
        return true;
    }
    if networks.is_empty() {
        return false;
    }
    let addresses = literal.map_or_else(|| (sources.addresses)(host), |address| vec![address]);
    let networks: Vec<(IpAddr, u8)> = networks.iter().filter_map(|rule| network(rule)).collect();
    addresses.iter().any(|address| {
        networks
            .iter()
            .any(|(network, bits)| contains(*network, *bits, *address))
    })
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width - u32::from(bits);
        bits == 0 || a.checked_shr(shift) == b.checked_shr(shift)
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

fn addresses(host: &str) -> Vec<IpAddr> {
    use std::net::ToSocketAddrs as _;
    match (host, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            // Whoever connects will say it.
            tracing::debug!(%error, "look up {host}");
            Vec::new()
        }
    }
}

/// Returns what holds for all registries: proxies of the environment, else of daemon.json; and limits of both.
pub fn limits(settings: &Settings, variable: LookUp<'_>) -> endpoint::Settings {
    let set = |names: [&str; 2], configured: &str| {
        let mut found = names.iter().filter_map(|name| variable(name));
        found
            .find(|value| !value.is_empty())
            .unwrap_or_else(|| configured.to_owned())
    };
    let all = set(["ALL_PROXY", "all_proxy"], "");
    let or_all = |text: &str| {
        if text.is_empty() {
            all.clone()
        } else {
            text.to_owned()
        }
    };
    let configured = &settings.proxies;
    let defaults = endpoint::Settings::default();
    let or = |value: usize, default: usize| if value == 0 { default } else { value };
    endpoint::Settings {
        proxies: Proxies {
            http: Secret::new(set(
                ["HTTP_PROXY", "http_proxy"],
                &or_all(&configured.http_proxy),
            )),
            https: Secret::new(set(
                ["HTTPS_PROXY", "https_proxy"],
                &or_all(&configured.https_proxy),
            )),
            except: set(["NO_PROXY", "no_proxy"], &configured.no_proxy),
        },
        downloads: or(settings.max_concurrent_downloads, defaults.downloads),
        uploads: or(settings.max_concurrent_uploads, defaults.uploads),
        attempts: if settings.max_download_attempts == 0 {
            defaults.attempts
        } else {
            settings.max_download_attempts
        },
        stall_timeout: variable(STALL_VARIABLE)
            .and_then(|text| text.parse().ok())
            .filter(|&seconds| seconds > 0)
            .map_or(defaults.stall_timeout, Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sources<'a>(mirrors: &'a [String], insecure: &'a [String]) -> Sources<'a> {
        Sources {
            mirrors,
            insecure,
            hosts: None,
            headers: vec![("X-Team".to_owned(), Secret::new("a"))],
            addresses: &|host| match host {
                "near.example.com" => vec!["10.1.2.3".parse().unwrap()],
                _ => Vec::new(),
            },
        }
    }

    /// `base[!][ ns][ key]`; `!` is insecure.
    fn shown(endpoint: &Endpoint) -> String {
        let mark = if endpoint.tls.insecure { "!" } else { "" };
        let namespace = endpoint.namespace.as_deref().unwrap_or("-");
        let key = endpoint.credentials.as_deref().unwrap_or("-");
        format!(
            "{}{mark} {namespace} {key} {}",
            endpoint.base,
            endpoint.headers.len()
        )
    }

    fn check(registry: &str, sources: &Sources<'_>, want: &[&str]) {
        let got: Vec<String> = plan(registry, sources).iter().map(shown).collect();
        assert_eq!(got, want, "{registry}");
    }

    #[test]
    fn mirrors_are_for_docker_hub() {
        let mirrors = [
            "https://mirror.gcr.io/".to_owned(),
            "http://127.0.0.1:5000".to_owned(),
        ];
        let sources = sources(&mirrors, &[]);
        check(
            "docker.io",
            &sources,
            &[
                "https://mirror.gcr.io/v2 - mirror.gcr.io 0",
                "http://127.0.0.1:5000/v2! - 127.0.0.1:5000 0",
                "https://registry-1.docker.io/v2 - https://index.docker.io/v1/ 1",
            ],
        );
        let own = ["https://quay.io/v2 - quay.io 1"];
        check("quay.io", &sources, &own);
        let endpoints = plan("docker.io", &sources);
        assert!(!endpoints[0].capabilities.push && endpoints[2].capabilities.push);
        assert_eq!(endpoints[0].connect_timeout, MIRROR_CONNECT_TIMEOUT);
    }

    #[test]
    fn insecure_registries_are_names_and_networks() {
        let insecure = [
            "http://plain.example.com:5000/".to_owned(),
            "10.0.0.0/8".to_owned(),
            "fd00::/8".to_owned(),
        ];
        let sources = sources(&[], &insecure);
        for (registry, want) in [
            ("plain.example.com:5000", true),
            ("Plain.example.com:5000", true),
            ("plain.example.com", false),
            ("near.example.com", true),
            ("near.example.com:5000", true),
            ("far.example.com", false),
            ("10.9.9.9:5000", true),
            ("11.9.9.9:5000", false),
            ("[fd00::1]:5000", true),
            ("[fe00::1]:5000", false),
            ("localhost:5000", true),
            ("127.1.2.3:5000", true),
            ("[::1]:5000", true),
        ] {
            let server = plan(registry, &sources).pop().unwrap();
            assert_eq!(server.tls.insecure, want, "{registry}");
        }
    }

    #[test]
    fn hosts_files_come_first() {
        let text = r#"
server = "https://registry-1.docker.io"
[host."https://mirror.example.com/hub"]
  capabilities = ["pull"]
  skip_verify = true
[host."cache.example.com:5000"]
  override_path = true
  dial_timeout = "200ms"
  [host."cache.example.com:5000".header]
    x-custom = "1"
"#;
        let mirrors = ["https://mirror.gcr.io".to_owned()];
        let mut sources = sources(&mirrors, &[]);
        sources.hosts = Some(Document::parse(text, Path::new("/c")).unwrap());
        check(
            "docker.io",
            &sources,
            &[
                "https://mirror.example.com/hub/v2 docker.io mirror.example.com 0",
                "https://cache.example.com:5000 docker.io cache.example.com:5000 1",
                "https://mirror.gcr.io/v2 - mirror.gcr.io 0",
                "https://registry-1.docker.io/v2 - https://index.docker.io/v1/ 1",
            ],
        );
        let endpoints = plan("docker.io", &sources);
        let first = &endpoints[0];
        assert!(
            first.capabilities.pull && !first.capabilities.resolve && first.tls.any_certificate
        );
        assert_eq!(endpoints[1].connect_timeout.as_millis(), 200);
    }

    #[test]
    fn the_environment_names_proxies_before_the_file() {
        let mut settings = Settings::default();
        settings.proxies.https_proxy = "http://file:1".to_owned();
        settings.proxies.no_proxy = "file.example.com".to_owned();
        settings.max_concurrent_downloads = 7;
        let limits = limits(&settings, &|name| {
            let set = [("http_proxy", "http://env:1"), (STALL_VARIABLE, "7")];
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(limits.stall_timeout, Duration::from_secs(7));
        assert_eq!(limits.proxies.http.expose(), "http://env:1");
        assert_eq!(limits.proxies.https.expose(), "http://file:1");
        assert_eq!(limits.proxies.except, "file.example.com");
        assert_eq!((limits.downloads, limits.uploads), (7, 5));
    }

    proptest! {
        #[test]
        fn any_text_can_be_configured(registry in "[a-z0-9.:\\[\\]/-]{0,30}", rule in any::<String>(), mirror in any::<String>()) {
            let (mirrors, insecure) = ([mirror], [rule]);
            let list = plan(&registry, &sources(&mirrors, &insecure));
            prop_assert!(!list.is_empty());
        }

        #[test]
        fn a_network_contains_its_own_addresses(address in any::<u32>(), bits in 0u8..=32, low in any::<u32>()) {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let other = (address & mask) | (low & !mask);
            prop_assert!(contains(IpAddr::V4(address.into()), bits, IpAddr::V4(other.into())));
            if bits > 0 {
                let outside = other ^ (1 << (32 - u32::from(bits)));
                prop_assert!(!contains(IpAddr::V4(address.into()), bits, IpAddr::V4(outside.into())));
            }
        }
    }
}
