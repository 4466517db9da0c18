//! What users have for registries: looked up, kept and forgotten where docker's client keeps it.
//!
//! ```text
//! find   $DOCKER_AUTH_CONFIG → credHelpers[KEY], else credsStore → auths of config.json → podman's auth.json (read only)
//! keep   credHelpers[KEY], else credsStore, else auths of config.json
//! erase  both the helper and auths
//! ```
//!
//! The key of Docker Hub is [`HUB_CREDENTIALS`], of others `host` or `host:port`. Keys with a scheme or a path, which old
//! clients wrote, are found as well.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use super::endpoint::{Credentials, HUB_CREDENTIALS, Secret};
use crate::error;

pub mod file;
mod helper;

/// How to look up a variable of the environment.
pub type LookUp<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where credentials are.
#[derive(Clone, Debug)]
pub struct Store {
    /// docker's `config.json`.
    config: PathBuf,
    /// The content of `DOCKER_AUTH_CONFIG`.
    environment: Option<Secret>,
    /// podman's `auth.json`, in the order in which they are looked at.
    others: Vec<PathBuf>,
}

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a helper.
    Helper,
    /// In this file, where whoever may read it can read them.
    File(PathBuf),
}

impl Store {
    /// Returns the store whose `config.json` lies in `dir`, without it in `$DOCKER_CONFIG` or `~/.docker`.
    pub fn open(dir: Option<&Path>, variable: LookUp<'_>) -> Store {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = PathBuf::from(set("HOME").unwrap_or_else(|| "/root".to_owned()));
        let dir = dir
            .map(Path::to_owned)
            .or_else(|| set("DOCKER_CONFIG").map(PathBuf::from))
            .unwrap_or_else(|| home.join(".docker"));
        let runtime = set("XDG_RUNTIME_DIR").map_or_else(
            || {
                PathBuf::from(format!(
                    "/run/containers/{}",
                    rustix::process::getuid().as_raw()
                ))
            },
            |dir| Path::new(&dir).join("containers"),
        );
        let configuration =
            set("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        Store {
            config: dir.join("config.json"),
            environment: set("DOCKER_AUTH_CONFIG").map(Secret::new),
            others: match set("REGISTRY_AUTH_FILE") {
                Some(file) => vec![PathBuf::from(file)],
                None => vec![
                    runtime.join("auth.json"),
                    configuration.join("containers/auth.json"),
                ],
            },
        }
    }

    /// Returns the path of `config.json`.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns whether the environment holds credentials, which come before all that are kept.
    pub fn has_environment(&self) -> bool {
        self.environment.is_some()
    }

    /// Returns what there is for the registry of `key`; podman's files may have it for `repository` alone.
    pub fn find(&self, key: &str, repository: Option<&str>) -> Result<Credentials> {
        if let Some(text) = &self.environment {
            match file::environment(text.expose()) {
                Ok(auths) => {
                    let found = look_up(&auths, key)?;
                    if found != Credentials::None {
                        return Ok(found);
                    }
                }
                // As docker has it: a broken variable does not hide what is kept.
                Err(error) => {
                    tracing::warn!("passed over DOCKER_AUTH_CONFIG: {}", error::line(&error));
                }
            }
        }
        let found = self.kept(key)?;
        if found != Credentials::None {
            return Ok(found);
        }
        for other in &self.others {
            let document = match file::read(other) {
                Ok(document) => document,
                Err(error) => {
                    tracing::warn!(
                        "passed over the credentials of podman: {}",
                        error::line(&error)
                    );
                    continue;
                }
            };
            // Its keys are exact: what is kept for a team is not for its host.
            let auths = file::auths(&document);
            let mut names = podman_keys(key, repository).into_iter();
            if let Some(name) = names.find(|name| auths.contains_key(name)) {
                return look_up(&auths, &name);
            }
        }
        Ok(Credentials::None)
    }

    /// Returns what docker's client keeps for `key`, without the environment and podman's files.
    pub fn kept(&self, key: &str) -> Result<Credentials> {
        let document = file::read(&self.config)?;
        if let Some(name) = helper_of(&document, key) {
            let found = helper::get(&name, key).context("error getting credentials")?;
            if found != Credentials::None {
                return Ok(found);
            }
        }
        look_up(&file::auths(&document), key)
    }

    /// Keeps what `user` has for `key`, in place of what there was.
    pub fn keep(&self, key: &str, user: &str, credentials: &Credentials) -> Result<Kept> {
        let document = file::read(&self.config)?;
        let helper = helper_of(&document, key);
        let entry = match &helper {
            Some(name) => {
                helper::store(name, key, credentials).context("error storing credentials")?;
                // docker's client notes there which registries a helper has something for.
                Value::Object(Map::new())
            }
            None => file::encode(user, credentials),
        };
        file::update(&self.config, &mut |document| {
            let auths = document
                .entry("auths")
                .or_insert_with(|| Value::Object(Map::new()));
            if !auths.is_object() {
                *auths = Value::Object(Map::new());
            }
            auths[key] = entry.clone();
            true
        })?;
        Ok(helper.map_or_else(|| Kept::File(self.config.clone()), |_| Kept::Helper))
    }

    /// Forgets what there is for exactly this `key`; that there is nothing is no error.
    pub fn erase(&self, key: &str) -> Result<()> {
        let document = file::read(&self.config)?;
        if let Some(name) = helper_of(&document, key) {
            helper::erase(&name, key).context("error erasing credentials")?;
        }
        file::update(&self.config, &mut |document| {
            let auths = document.get_mut("auths").and_then(Value::as_object_mut);
            auths.is_some_and(|auths| auths.remove(key).is_some())
        })
    }

    /// Returns the headers that users want sent to registries (`HttpHeaders`); the program's own name is not among them.
    pub fn headers(&self) -> Result<Vec<(String, Secret)>> {
        let document = file::read(&self.config)?;
        let headers = document.get("HttpHeaders").and_then(Value::as_object);
        let pairs = headers.into_iter().flatten().filter_map(|(name, value)| {
            let value = value.as_str()?;
            (!name.eq_ignore_ascii_case("user-agent")).then(|| (name.clone(), Secret::new(value)))
        });
        Ok(pairs.collect())
    }
}

/// Returns the key under which the credentials of a registry are kept; `docker.io` and none are Docker Hub.
pub fn key(server: &str) -> String {
    match server {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB_CREDENTIALS.to_owned(),
        other => other.to_owned(),
    }
}

/// Returns what is left of a key without its scheme and path: `registry.example.com:5000`.
pub fn host(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    rest.unwrap_or(key).split('/').next().unwrap_or_default()
}

/// Returns the name of the helper that has the credentials of `key`.
fn helper_of(document: &Map<String, Value>, key: &str) -> Option<String> {
    let own = document.get("credHelpers").and_then(|helpers| {
        let helpers = helpers.as_object()?;
        helpers.get(key).or_else(|| helpers.get(host(key)))
    });
    let name = own.or_else(|| document.get("credsStore"))?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Returns the entry of exactly `key`, else the first whose host is the same.
fn look_up(auths: &Map<String, Value>, key: &str) -> Result<Credentials> {
    let same_host = || {
        auths
            .iter()
            .find(|(name, _)| host(name) == host(key))
            .map(|(_, entry)| entry)
    };
    match auths.get(key).or_else(same_host) {
        Some(entry) => {
            file::decode(entry).with_context(|| format!("read the credentials for {key}"))
        }
        None => Ok(Credentials::None),
    }
}

/// The keys that podman may have used, the most exact first.
fn podman_keys(key: &str, repository: Option<&str>) -> Vec<String> {
    let registry = if key == HUB_CREDENTIALS {
        "docker.io"
    } else {
        key
    };
    let mut keys = Vec::new();
    let mut path = repository;
    while let Some(repository) = path {
        keys.push(format!("{registry}/{repository}"));
        path = repository.rsplit_once('/').map(|(parent, _)| parent);
    }
    keys.push(registry.to_owned());
    if key == HUB_CREDENTIALS {
        keys.push(key.to_owned());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!(
                "aril-credentials-{name}-{}",
                crate::store::unique()
            ));
            std::fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }

        fn store(&self, variables: &[(&str, &str)]) -> Store {
            let dir = self.0.clone();
            Store::open(Some(&dir.join("docker")), &|name| {
                let home = (name == "HOME").then(|| dir.join("home").display().to_string());
                let given = variables.iter().find(|(key, _)| *key == name);
                given.map(|(_, value)| (*value).to_owned()).or(home)
            })
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn helper(&self, name: &str, script: &str) -> String {
            let path = self.0.join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn what_is_kept_is_found_and_forgotten() {
        let scratch = Scratch::new("life");
        scratch.write(
            "docker/config.json",
            r#"{"psFormat": "x", "auths": {"a.example.com": {"auth": "bWU6b2xk"}}}"#,
        );
        let store = scratch.store(&[]);
        assert_eq!(
            store.find("a.example.com", None).unwrap(),
            password("me", "old")
        );
        let kept = store
            .keep("a.example.com", "me", &password("me", "new:er"))
            .unwrap();
        assert_eq!(kept, Kept::File(scratch.0.join("docker/config.json")));
        store
            .keep(
                "b.example.com:5000",
                "",
                &Credentials::Identity(Secret::new("t")),
            )
            .unwrap();
        assert_eq!(
            store.find("a.example.com", None).unwrap(),
            password("me", "new:er")
        );
        assert_eq!(
            store.find("b.example.com:5000", None).unwrap(),
            Credentials::Identity(Secret::new("t"))
        );
        store.erase("a.example.com").unwrap();
        store.erase("nothing.example.com").unwrap();
        assert_eq!(
            store.find("a.example.com", None).unwrap(),
            Credentials::None
        );
        let text = std::fs::read_to_string(store.config()).unwrap();
        assert!(
            text.starts_with("{\n\t\"psFormat\": \"x\",\n\t\"auths\""),
            "{text}"
        );
    }

    #[test]
    fn keys_of_old_clients_are_found() {
        let scratch = Scratch::new("keys");
        scratch.write(
            "docker/config.json",
            r#"{"auths": {"https://a.example.com/v2/": {"username": "u", "password": "p"}, "https://index.docker.io/v1/": {"registrytoken": "t"}}}"#,
        );
        let store = scratch.store(&[]);
        assert_eq!(
            store.find("a.example.com", None).unwrap(),
            password("u", "p")
        );
        assert_eq!(
            store.find(&key("docker.io"), None).unwrap(),
            Credentials::Bearer(Secret::new("t"))
        );
        assert_eq!(
            store.find("b.example.com", None).unwrap(),
            Credentials::None
        );
        assert_eq!(host("https://a.example.com:5000/v1/"), "a.example.com:5000");
    }

    #[test]
    fn the_environment_comes_first_and_podman_last() {
        let scratch = Scratch::new("order");
        scratch.write(
            "docker/config.json",
            r#"{"auths": {"a.example.com": {"auth": "Zjpm"}}}"#,
        );
        scratch.write(
            "run/containers/auth.json",
            r#"{"auths": {"b.example.com": {"auth": "YTph"}, "b.example.com/team": {"auth": "dDp0"}, "docker.io": {"auth": "aDpo"}}}"#,
        );
        let run = scratch.0.join("run").display().to_string();
        let variables = [
            (
                "DOCKER_AUTH_CONFIG",
                r#"{"auths": {"a.example.com": {"auth": "ZTpl"}}}"#,
            ),
            ("XDG_RUNTIME_DIR", run.as_str()),
        ];
        let store = scratch.store(&variables);
        let find = |key: &str, repository: &str| store.find(key, Some(repository)).unwrap();
        assert_eq!(find("a.example.com", "x"), password("e", "e"));
        assert_eq!(store.kept("a.example.com").unwrap(), password("f", "f"));
        assert_eq!(find("b.example.com", "team/app"), password("t", "t"));
        assert_eq!(find("b.example.com", "teams/app"), password("a", "a"));
        assert_eq!(find(HUB_CREDENTIALS, "library/x"), password("h", "h"));
        let broken = scratch.store(&[("DOCKER_AUTH_CONFIG", "{"), ("XDG_RUNTIME_DIR", &run)]);
        assert_eq!(
            broken.find("a.example.com", None).unwrap(),
            password("f", "f")
        );
        assert!(!format!("{store:?}").contains("ZTpl"));
    }

    #[test]
    fn helpers_keep_secrets() {
        let scratch = Scratch::new("helper");
        let name = scratch.helper(
            "test",
            r#"d=$(dirname "$0"); echo "$1" >> $d/calls
case $1 in
get) read -r key; [ -f "$d/secret" ] || { echo credentials not found in native keychain; exit 1; }
     printf '{"ServerURL":"%s","Username":"u","Secret":"s"}' "$key";;
store) cat > $d/secret;;
erase) rm -f $d/secret;;
esac"#,
        );
        // A name with a slash is a path, which is not looked up; so the test brings its own.
        scratch.write(
            "docker/config.json",
            &format!(r#"{{"credHelpers": {{"a.example.com": {name:?}}}}}"#),
        );
        let store = scratch.store(&[]);
        let refused = format!("{:#}", store.find("a.example.com", None).unwrap_err());
        assert!(refused.contains("no name of a helper"), "{refused}");
        let found = helper::call(Path::new(&name), "get", b"a.example.com\n").unwrap_err();
        assert!(
            format!("{found:#}").contains("credentials not found"),
            "{found:#}"
        );
        helper::call(Path::new(&name), "store", b"{}").unwrap();
        let document = helper::call(Path::new(&name), "get", b"a.example.com\n").unwrap();
        assert_eq!(helper::decode(&document).unwrap(), password("u", "s"));
    }

    #[test]
    fn a_symlink_is_followed_and_the_mode_is_kept() {
        let scratch = Scratch::new("link");
        scratch.write("real/config.json", "{}");
        std::fs::create_dir_all(scratch.0.join("docker")).unwrap();
        symlink("../real/config.json", scratch.0.join("docker/config.json")).unwrap();
        let store = scratch.store(&[]);
        store
            .keep("a.example.com", "me", &password("me", "p"))
            .unwrap();
        assert!(scratch.0.join("docker/config.json").is_symlink());
        assert!(
            std::fs::read_to_string(scratch.0.join("real/config.json"))
                .unwrap()
                .contains("a.example.com")
        );
        let fresh = Scratch::new("mode");
        fresh
            .store(&[])
            .keep("a.example.com", "me", &password("me", "p"))
            .unwrap();
        let mode = std::fs::metadata(fresh.0.join("docker/config.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(fresh.0.join("docker")).unwrap().count(),
            1
        );
    }

    #[test]
    fn two_logins_lose_nothing() {
        let scratch = Scratch::new("race");
        let store = scratch.store(&[]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..10 {
                        let key = format!("r{thread}-{round}.example.com");
                        store.keep(&key, "me", &password("me", "p")).unwrap();
                    }
                });
            }
        });
        assert_eq!(file::auths(&file::read(store.config()).unwrap()).len(), 40);
    }

    #[test]
    fn a_broken_file_is_not_overwritten() {
        let scratch = Scratch::new("broken");
        scratch.write(
            "docker/config.json",
            "{\n  \"auths\": {}\n  \"credsStore\": \"x\"\n}",
        );
        let store = scratch.store(&[]);
        let error = store
            .keep("a.example.com", "me", &password("me", "p"))
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("line 2, column 14: a comma is missing after {}"),
            "{error:#}"
        );
        assert!(
            std::fs::read_to_string(store.config())
                .unwrap()
                .contains("credsStore")
        );
    }
}
