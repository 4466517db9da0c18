//! Where and how a registry is reached: what configuration decides, and what the client takes. Data, and nothing that acts.
//!
//! One registry has several endpoints: its mirrors in the order of their preference, then itself. What is asked of which
//! one is the client's affair ([`Capabilities`] say what may be); where the values come from (daemon.json, hosts.toml,
//! certs.d, `config.json` and its helpers) is that of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The key under which credentials for Docker Hub are kept, and the host that its API is on.
pub const HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";
/// The host of Docker Hub's API.
pub const HUB_HOST: &str = "registry-1.docker.io";
/// How long connecting to a registry may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be silent where nothing else is said.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting to a mirror may take, since there is another place to ask.
pub const MIRROR_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One place that is asked for what a registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host, port and path up to where the repository's name follows: `https://registry-1.docker.io/v2`; no slash
    /// at the end. `override_path` of hosts.toml leaves out the `/v2`.
    pub base: String,
    /// What it may be asked for.
    pub capabilities: Capabilities,
    /// For a mirror the registry it stands for (`docker.io`), sent as `?ns=`; nothing for the registry itself, and for
    /// mirrors that are not told (`registry-mirrors` of daemon.json).
    pub namespace: Option<String>,
    /// Under which key its credentials are kept; nothing if it never gets any. A mirror has its own host here, never the
    /// registry's.
    pub credentials: Option<String>,
    /// How its certificate is checked, and what is done when it has none.
    pub tls: Tls,
    /// Sent with every request to this host: `HttpHeaders` of config.json, `header` of hosts.toml.
    pub headers: Vec<(String, Secret)>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// What an endpoint may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Manifests and blobs by digest.
    pub pull: bool,
    /// The digest behind a tag, and lists of tags.
    pub resolve: bool,
    /// Uploads.
    pub push: bool,
}

impl Capabilities {
    /// Of a registry.
    pub const ALL: Capabilities = Capabilities {
        pull: true,
        resolve: true,
        push: true,
    };
    /// Of a mirror that daemon.json names.
    pub const MIRROR: Capabilities = Capabilities {
        pull: true,
        resolve: true,
        push: false,
    };
}

/// How the other side of a TLS connection is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether any certificate will do, and plain HTTP if the other side has none: `insecure-registries` and loopback. A host
    /// that has once spoken TLS in this process is not spoken to without it.
    pub insecure: bool,
    /// Whether any certificate will do, but there must be one: `skip_verify` of hosts.toml.
    pub any_certificate: bool,
    /// Files of certificates in PEM that are trusted besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Files of a certificate chain and its key in PEM, to show to the other side; the first that can be read is used.
    pub identities: Vec<Identity>,
}

/// What is shown to a registry that asks who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `client.cert`.
    pub certificate: PathBuf,
    /// `client.key`; the same file may hold both.
    pub key: PathBuf,
}

/// What a user has for a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing: everything is asked for anonymously.
    #[default]
    None,
    /// Name and password, or a token in the password's place.
    Password {
        /// Not empty.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that the registry's token server gives others for (`identitytoken`).
    Identity(Secret),
    /// A token that is sent as it is (`registrytoken`).
    Bearer(Secret),
}

/// Text that no log and no error shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes what is not to be shown.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns it, to be sent or stored.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What holds for all registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked to connect to others.
    pub proxies: Proxies,
    /// How many layers of one pull are fetched at a time (`max-concurrent-downloads`).
    pub downloads: usize,
    /// How many layers of one push are sent at a time (`max-concurrent-uploads`).
    pub uploads: usize,
    /// How often something is tried before it is given up (`max-download-attempts`).
    pub attempts: u32,
    /// How long a connection may send nothing, or take nothing, before it is made anew (`ARIL_STALL_TIMEOUT`).
    pub stall_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            proxies: Proxies::default(),
            downloads: 3,
            uploads: 5,
            attempts: 5,
            stall_timeout: STALL_TIMEOUT,
        }
    }
}

/// Proxies, as the environment or daemon.json has them; empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http:` addresses: `http://user:password@proxy:3128`, `socks5://…`; may hold a password.
    pub http: Secret,
    /// For `https:` addresses.
    pub https: Secret,
    /// Hosts that are reached without one: names, `.suffix`, addresses, networks, `*`, with commas between.
    pub except: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::Password {
            user: "user".to_owned(),
            password: Secret::new("geheim"),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("***") && !shown.contains("geheim"),
            "{shown}"
        );
    }
}
