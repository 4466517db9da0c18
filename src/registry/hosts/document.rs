//! `hosts.toml`: containerd's way to say from where a registry's images are fetched, for any registry.
//!
//! ```text
//! server = "https://registry-1.docker.io"          capabilities, ca, client, skip_verify, header, override_path and
//! [host."https://mirror.example.com"]              dial_timeout may stand here for the server, and in each host
//!   capabilities = ["pull", "resolve"]
//!   ca = "ca.crt"                                  paths are relative to the file's folder
//! ```
//!
//! The folder of a registry is `host`, `host_port_` or `host:port`, and `_default` for all that have none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use toml::Table;

use crate::error;
use crate::registry::endpoint::{Capabilities, Identity, Secret};

/// A larger file is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Address of the registry itself, if the file names one.
    pub server: Option<String>,
    /// What is said of the registry itself.
    pub own: Host,
    /// The places that are asked before it, in their order, by their addresses.
    pub hosts: Vec<(String, Host)>,
}

/// What is said of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it may be asked for.
    pub capabilities: Capabilities,
    /// Authorities that are trusted besides the system's.
    pub authorities: Vec<PathBuf>,
    /// What is shown to it.
    pub identities: Vec<Identity>,
    /// Whether any certificate will do.
    pub skip_verify: bool,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// Whether its address is complete, without `/v2`.
    pub override_path: bool,
    /// How long connecting may take.
    pub dial_timeout: Option<Duration>,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            capabilities: Capabilities::ALL,
            authorities: Vec::new(),
            identities: Vec::new(),
            skip_verify: false,
            headers: Vec::new(),
            override_path: false,
            dial_timeout: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    capabilities: Option<Vec<String>>,
    ca: Texts,
    client: Client,
    skip_verify: bool,
    header: Table,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Default for Texts {
    fn default() -> Texts {
        Texts::Many(Vec::new())
    }
}

impl Texts {
    fn list(self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text],
            Texts::Many(list) => list,
        }
    }
}

/// One file with both, several such, or pairs of certificate and key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    Files(Texts),
    Pairs(Vec<[String; 2]>),
}

impl Default for Client {
    fn default() -> Client {
        Client::Files(Texts::default())
    }
}

/// Returns the file of a registry, if one of `folders` has one for it.
pub(super) fn find(folders: &[PathBuf], registry: &str) -> Result<Option<Document>> {
    for folder in folders {
        for name in names(registry) {
            let folder = folder.join(name);
            let path = folder.join("hosts.toml");
            let Ok(meta) = path.metadata() else { continue };
            let context = || format!("read {}", path.display());
            if meta.len() > MAX_BYTES {
                return Err(error::invalid(format!("larger than {MAX_BYTES} bytes")))
                    .with_context(context);
            }
            let text = std::fs::read_to_string(&path).with_context(context)?;
            return Document::parse(&text, &folder)
                .map(Some)
                .with_context(context);
        }
    }
    Ok(None)
}

/// The folders that may be a registry's, the most exact first.
fn names(registry: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((host, port)) = registry
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
    {
        names.push(format!("{host}_{port}_"));
    }
    names.push(registry.to_owned());
    names.push("_default".to_owned());
    names
}

impl Document {
    /// Reads the text of a file in `folder`.
    ///
    /// Errors are of kind `Invalid`.
    pub fn parse(text: &str, folder: &Path) -> Result<Document> {
        let invalid =
            |error: toml::de::Error| error::invalid(error.to_string().trim_end().to_owned());
        let mut table: Table = toml::from_str(text).map_err(invalid)?;
        let take = |table: &mut Table, name: &str| table.remove(name);
        let server = match take(&mut table, "server") {
            None => None,
            Some(toml::Value::String(server)) if server.is_empty() => None,
            Some(toml::Value::String(server)) => Some(server),
            Some(_) => return Err(error::invalid("server must be a text in double quotes")),
        };
        let hosts = match take(&mut table, "host") {
            None => Table::new(),
            Some(toml::Value::Table(hosts)) => hosts,
            Some(_) => return Err(error::invalid("host must be a table: [host.\"https://…\"]")),
        };
        let own = host(toml::Value::Table(table), folder).context("of the server")?;
        let mut document = Document {
            server,
            own,
            hosts: Vec::with_capacity(hosts.len()),
        };
        for (url, value) in hosts {
            let host = host(value, folder).with_context(|| format!("of host {url:?}"))?;
            document.hosts.push((url, host));
        }
        Ok(document)
    }
}

fn host(value: toml::Value, folder: &Path) -> Result<Host> {
    let raw: Raw = value
        .try_into()
        .map_err(|error: toml::de::Error| error::invalid(error.message().to_owned()))?;
    let file = |name: String| folder.join(name);
    let mut host = Host {
        authorities: raw.ca.list().into_iter().map(file).collect(),
        identities: match raw.client {
            Client::Files(files) => files
                .list()
                .into_iter()
                .map(|both| (both.clone(), both))
                .collect(),
            Client::Pairs(pairs) => pairs
                .into_iter()
                .map(|[certificate, key]| (certificate, key))
                .collect::<Vec<_>>(),
        }
        .into_iter()
        .map(|(certificate, key)| Identity {
            certificate: file(certificate),
            key: file(key),
        })
        .collect(),
        skip_verify: raw.skip_verify,
        override_path: raw.override_path,
        ..Host::default()
    };
    if let Some(names) = raw.capabilities {
        host.capabilities = capabilities(&names)?;
    }
    for (name, value) in raw.header {
        let values: Texts = value.try_into().map_err(|_| {
            error::invalid(format!(
                "the header {name} must be a text or a list of texts"
            ))
        })?;
        host.headers.extend(
            values
                .list()
                .into_iter()
                .map(|value| (name.clone(), Secret::new(value))),
        );
    }
    if let Some(text) = raw.dial_timeout {
        let duration = text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|length| length.try_into().ok());
        let wrong = || {
            error::invalid(format!(
                "dial_timeout {text:?} is no duration such as \"5s\""
            ))
        };
        host.dial_timeout = Some(
            duration
                .filter(|length: &Duration| !length.is_zero())
                .ok_or_else(wrong)?,
        );
    }
    Ok(host)
}

fn capabilities(names: &[String]) -> Result<Capabilities> {
    let mut found = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => found.push = true,
            // Of later versions of containerd; nobody here asks for it.
            "referrers" => {}
            _ => {
                let why = "expected \"pull\", \"resolve\" or \"push\"";
                return Err(error::invalid(format!(
                    "unknown capability {name:?}: {why}"
                )));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Document> {
        Document::parse(text, Path::new("/c/x"))
    }

    #[test]
    fn a_file_with_everything() {
        let document = parse(
            r#"
server = "https://a.example.com"
ca = ["one.crt", "/two.crt"]
[host."https://b.example.com"]
  capabilities = ["pull", "Resolve"]
  client = [["c.cert", "c.key"]]
  dial_timeout = "1m30s"
[host."http://c.example.com:5000"]
  ca = "three.crt"
  client = "both.pem"
  header = { x-one = "1", x-two = ["2", "3"] }
[host."https://a-last.example.com"]
"#,
        )
        .unwrap();
        assert_eq!(
            document.own.authorities,
            [PathBuf::from("/c/x/one.crt"), PathBuf::from("/two.crt")]
        );
        let urls: Vec<&str> = document.hosts.iter().map(|(url, _)| url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "https://b.example.com",
                "http://c.example.com:5000",
                "https://a-last.example.com"
            ]
        );
        let (b, c) = (&document.hosts[0].1, &document.hosts[1].1);
        assert_eq!(b.capabilities, Capabilities::MIRROR);
        assert_eq!(b.identities[0].key, PathBuf::from("/c/x/c.key"));
        assert_eq!(b.dial_timeout, Some(Duration::from_secs(90)));
        assert_eq!(c.identities[0].certificate, c.identities[0].key);
        assert_eq!(c.headers.len(), 3);
        assert_eq!(document.hosts[2].1, Host::default());
        assert_eq!(parse("").unwrap(), Document::default());
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, want: &str| {
            let error = parse(text).unwrap_err();
            assert!(error::is(&error, error::Kind::Invalid));
            let line = format!("{error:#}");
            assert!(line.contains(want), "{line}");
        };
        check("server = https://a", "line 1, column 10");
        check("server = 1", "server must be a text");
        check(
            "[host.\"x\"]\ncapabilities = [\"fly\"]",
            "of host \"x\": unknown capability \"fly\"",
        );
        check(
            "[host.\"x\"]\ndial_timeout = \"soon\"",
            "\"soon\" is no duration",
        );
        check(
            "[host.\"x\"]\nskip_verify = \"yes\"",
            "invalid type: string \"yes\", expected a boolean",
        );
    }

    #[test]
    fn folders_are_found_by_all_their_names() {
        assert_eq!(
            names("a.example.com:5000"),
            ["a.example.com_5000_", "a.example.com:5000", "_default"]
        );
        assert_eq!(names("docker.io"), ["docker.io", "_default"]);
        let dir = std::env::temp_dir().join(format!("aril-hosts-{}", crate::store::unique()));
        let put = |name: &str, server: &str| {
            std::fs::create_dir_all(dir.join(name)).unwrap();
            std::fs::write(
                dir.join(name).join("hosts.toml"),
                format!("server = \"https://{server}\""),
            )
            .unwrap();
        };
        put("_default", "all");
        put("a.example.com_5000_", "own");
        let server = |registry: &str| {
            find(std::slice::from_ref(&dir), registry)
                .unwrap()
                .unwrap()
                .server
                .unwrap()
        };
        assert_eq!(server("a.example.com:5000"), "https://own");
        assert_eq!(server("b.example.com"), "https://all");
        std::fs::remove_dir_all(dir).unwrap();
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in any::<String>(), key in "(server|host|ca|client|header|dial_timeout|capabilities)", value in "[\\[\\]{}\"a-z0-9=,. ]{0,20}") {
            drop(parse(&text));
            drop(parse(&format!("{key} = {value}")));
            drop(parse(&format!("[host.\"x\"]\n{key} = {value}")));
        }
    }
}
