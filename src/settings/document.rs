//! From the text of a daemon.json to what is configured: each mistake at its place, and what has no effect told.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::keys::{self, Treatment};
use super::syntax::{self, Mistake};
use super::{Settings, values};
use crate::error;

/// Returns the error for a mistake.
pub(super) fn complaint(file: &Path, mistake: &Mistake) -> anyhow::Error {
    let error = error::invalid(format!("read {}: {mistake}", file.display()));
    if mistake.remedy.is_empty() {
        return error;
    }
    error::with_hint(error, mistake.remedy.clone())
}

/// Reads the text of a file, whose path is for messages.
pub fn parse(text: &str, file: &Path) -> Result<Settings> {
    // As dockerd does.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut settings = Settings::default();
    if !text.trim().is_empty() {
        let wrong = |error: serde_json::Error| complaint(file, &syntax::explain(text, &error));
        let document: Value = serde_json::from_str(text).map_err(wrong)?;
        let Value::Object(document) = document else {
            let mistake = syntax::mistake(
                text,
                text.len() - text.trim_start().len(),
                "the document is no object",
                "write { at the beginning of the file and } at its end",
            );
            return Err(complaint(file, &mistake));
        };
        settings = typed(text, document.clone()).map_err(|mistake| complaint(file, &mistake))?;
        classify(&mut settings, &document);
        let Names(names) = serde_json::from_str(text).map_err(wrong)?;
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                settings
                    .ignored
                    .push(format!("{name} stands there twice: the last one counts"));
            }
        }
        values::check(&settings).map_err(|wrong| {
            complaint(
                file,
                &place(
                    text,
                    wrong.key,
                    Some(&wrong.value),
                    wrong.what,
                    wrong.remedy,
                ),
            )
        })?;
    }
    settings.file = Some(file.to_owned());
    if settings.is_dockers() {
        // Docker's own data is there; aril's must not be among it.
        settings.data_root = None;
    }
    Ok(settings)
}

/// Reads the fields; the mistake names the key whose value is of another type.
fn typed(text: &str, mut document: Map<String, Value>) -> Result<Settings, Mistake> {
    // docker's null is the same as an absent key.
    document.retain(|_, value| !value.is_null());
    let error = match Settings::deserialize(Value::Object(document.clone())) {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    for (key, value) in document {
        let one = Map::from_iter([(key.clone(), value)]);
        if let Err(error) = Settings::deserialize(Value::Object(one)) {
            let said = error.to_string();
            let what = match said.rsplit_once("expected ") {
                Some((_, wanted)) => format!("{key} must be {}", words(wanted)),
                None => format!("{key}: {said}"),
            };
            return Err(place(text, &key, None, what, String::new()));
        }
    }
    Err(syntax::mistake(text, 0, error.to_string(), ""))
}

/// What the parser calls a type, in words.
fn words(wanted: &str) -> &str {
    match wanted {
        "a sequence" => "a list: [ and ] around, commas between",
        "a string" => "a text in double quotes",
        "a map" => "an object: { and } around",
        "a boolean" => "true or false, without quotes",
        "u8" | "u32" | "usize" | "i64" | "u64" => "a number, without quotes",
        "IP address" => "an address such as 192.0.2.1",
        other if other.starts_with("struct") => "an object: { and } around",
        other => other,
    }
}

/// Returns the mistake at the value of `key`, or at the text `value` after it.
pub(super) fn place(
    text: &str,
    key: &str,
    value: Option<&str>,
    what: String,
    remedy: String,
) -> Mistake {
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let name = quoted(key);
    let after_name = text.find(&name).map_or(0, |at| at + name.len());
    let at = value.and_then(|value| text[after_name..].find(&quoted(value)));
    let colon = || {
        text[after_name..]
            .find(|c: char| c != ':' && !c.is_whitespace())
            .unwrap_or(0)
    };
    syntax::mistake(text, after_name + at.unwrap_or_else(colon), what, remedy)
}

/// Sorts out the keys that do not have docker's effect.
fn classify(settings: &mut Settings, document: &Map<String, Value>) {
    for (key, value) in document {
        let empty = match value {
            Value::Null => true,
            Value::Bool(value) => *value == keys::is_on_by_default(key),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(_) => false,
        };
        match keys::treatment(key) {
            _ if empty => {}
            None => {
                let near = keys::nearest(key).map(|near| format!(" (is {near} meant?)"));
                settings.ignored.push(format!(
                    "{key} is no key of docker's{}",
                    near.unwrap_or_default()
                ));
            }
            Some(Treatment::Honoured | Treatment::Pointless) => {}
            Some(Treatment::Ignored(why)) => {
                settings.ignored.push(format!("{key} has no effect: {why}"));
            }
            Some(Treatment::Refused(why)) => {
                settings
                    .unmet
                    .push(format!("{key} cannot be fulfilled: {why}"));
            }
        }
    }
    let driver = settings.storage_driver.as_str();
    if !matches!(driver, "" | "overlay2" | "overlay" | "overlayfs") {
        let why = "layers are stacked by overlayfs";
        settings
            .ignored
            .push(format!("storage-driver {driver} has no effect: {why}"));
    }
}

/// The names in an object, in their order, repeated ones too.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::CgroupDriver;

    fn read(text: &str) -> Result<Settings> {
        parse(text, Path::new("/d.json"))
    }

    #[test]
    fn what_tutorials_write_is_read() {
        let settings = read(
            r#"{
              "registry-mirrors": ["https://mirror.gcr.io", "http://127.0.0.1:5000/"],
              "insecure-registries": ["10.0.0.0/8", "registry.example.com:5000"],
              "exec-opts": ["native.cgroupdriver=systemd"],
              "log-driver": "json-file",
              "log-opts": {"max-size": "100m", "max-file": "3"},
              "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
              "default-address-pools": [{"base": "10.200.0.0/16", "size": 24}],
              "default-shm-size": "128M",
              "storage-driver": "overlay2",
              "live-restore": true, "hosts": ["unix:///x"], "dns": null,
              "bip": "172.26.0.1/24", "mtu": 1400, "icc": false, "ip": "127.0.0.1"
            }"#,
        )
        .unwrap();
        assert_eq!(settings.registry_mirrors.len(), 2);
        assert_eq!(settings.log_opts["max-size"], "100m");
        assert_eq!(settings.default_ulimits["nofile"].hard, 64000);
        assert_eq!(settings.default_shm_size, Some(128 << 20));
        assert_eq!(settings.default_address_pools[0].size, 24);
        assert_eq!((settings.mtu, settings.icc), (1400, Some(false)));
        assert_eq!(settings.cgroup_driver(), CgroupDriver::Systemd);
        assert_eq!(settings.ignored, Vec::<String>::new());
        assert!(settings.check_isolation().is_ok());
        assert_eq!(read(" \n").unwrap().registry_mirrors, Vec::<String>::new());
        assert!(read("\u{feff}{}").is_ok());
    }

    fn check(text: &str, want: &str, hint: &str) {
        let error = read(text).unwrap_err();
        assert!(error::is(&error, error::Kind::Invalid), "{error:#}");
        let first = error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(first, format!("read /d.json: {want}"), "{text}");
        assert_eq!(error::hint(&error).unwrap_or_default(), hint, "{text}");
    }

    #[test]
    fn broken_files_are_explained() {
        check(
            "{\n \"registry-mirrors\": [\n  \"https://a\"\n  \"https://b\"\n ]\n}",
            "line 3, column 14: a comma is missing after \"https://a\"",
            "write a comma there (line 3)",
        );
        check(
            "{\"registry-mirrors\": \"https://a\"}",
            "line 1, column 22: registry-mirrors must be a list: [ and ] around, commas between",
            "",
        );
        check(
            "{\"registry-mirrors\": [1]}",
            "line 1, column 22: registry-mirrors must be a text in double quotes",
            "",
        );
        check(
            r#"{"exec-opts": ["native.cgroupdriver=none"]}"#,
            "line 1, column 16: native.cgroupdriver option none not supported",
            "write \"cgroupfs\" or \"systemd\"",
        );
        check(
            "{\"mtu\": \"1500\"}",
            "line 1, column 9: mtu must be a number, without quotes",
            "",
        );
        check(
            "{\"ipv6\": \"true\"}",
            "line 1, column 10: ipv6 must be true or false, without quotes",
            "",
        );
        check(
            "{\"ip\": \"x\"}",
            "line 1, column 8: ip: invalid IP address syntax",
            "",
        );
        check(
            "[1]",
            "line 1, column 1: the document is no object",
            "write { at the beginning of the file and } at its end",
        );
        check(
            "{\n\"registry-mirrors\": [\"https://ok\", \"mirror.gcr.io\"]}",
            "line 2, column 36: the mirror mirror.gcr.io is no URL",
            "write https://mirror.gcr.io",
        );
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let settings = read(
            r#"{"registry-mirror": ["x"], "frob": 1, "nothing": "", "storage-driver": "zfs", "debug": true, "debug": true}"#,
        );
        assert_eq!(
            settings.unwrap().ignored,
            [
                "registry-mirror is no key of docker's (is registry-mirrors meant?)",
                "frob is no key of docker's",
                "storage-driver zfs has no effect: layers are stacked by overlayfs",
                "debug stands there twice: the last one counts",
            ]
        );
        let settings = read(r#"{"userland-proxy": false, "ip6tables": true}"#).unwrap();
        assert_eq!(settings.ignored, [] as [&str; 0]);
        let settings = read(r#"{"userns-remap": "default", "selinux-enabled": false}"#).unwrap();
        let error = settings.check_isolation().unwrap_err();
        assert!(error::is(&error, error::Kind::Unavailable));
        assert!(
            error
                .to_string()
                .starts_with("userns-remap cannot be fulfilled")
        );
    }
}
