//! What daemon.json gives containers that do not ask for something else.
//!
//! Applied when a container is made and kept in its record, so that a container does not change with the file.

use anyhow::{Context as _, Result};

use crate::docker::container::HostConfig;
use crate::error;
use crate::settings::Settings;

/// The log driver of containers that ask for none, where nothing is configured.
const LOG_DRIVER: &str = "json-file";
/// The largest seccomp profile.
const PROFILE_MAX_BYTES: u64 = 4 << 20;

/// Fills in what `host` leaves open.
///
/// Errors: `Unavailable` if containers would be less isolated than the file says; whatever is wrong with the seccomp profile
/// that it names.
pub(super) fn apply(settings: &Settings, host: &mut HostConfig) -> Result<()> {
    settings.check_isolation()?;
    logging(settings, host);
    for (name, limit) in &settings.default_ulimits {
        if !host
            .resources
            .ulimits
            .iter()
            .any(|given| given.name == *name)
        {
            let mut limit = limit.clone();
            limit.name.clone_from(name);
            host.resources.ulimits.push(limit);
        }
    }
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    or(&mut host.resources.cgroup_parent, &settings.cgroup_parent);
    or(&mut host.ipc_mode, &settings.default_ipc_mode);
    or(&mut host.cgroupns_mode, &settings.default_cgroupns_mode);
    if host.shm_size == 0 {
        host.shm_size = settings.default_shm_size.unwrap_or(0);
    }
    if settings.init && host.init.is_none() && host.pid_mode != "host" {
        host.init = Some(true);
    }
    // What a container shares with another one it cannot have of its own.
    if !host.network_mode.starts_with("container:") {
        for (list, default) in [
            (&mut host.dns, &settings.dns),
            (&mut host.dns_options, &settings.dns_opts),
            (&mut host.dns_search, &settings.dns_search),
        ] {
            if list.is_empty() {
                list.clone_from(default);
            }
        }
    }
    security(settings, host)
}

/// The driver, and of its options those that are not given.
fn logging(settings: &Settings, host: &mut HostConfig) {
    let default = match settings.log_driver.as_str() {
        "" => LOG_DRIVER,
        driver => driver,
    };
    let log = &mut host.log_config;
    if log.kind.is_empty() {
        default.clone_into(&mut log.kind);
    }
    if log.kind == default {
        for (name, value) in &settings.log_opts {
            log.config
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
    }
}

fn security(settings: &Settings, host: &mut HostConfig) -> Result<()> {
    let given = |name: &str| {
        let mut options = host.security_opt.iter().flatten();
        options.any(|option| option.split(['=', ':']).next() == Some(name))
    };
    let mut more = Vec::new();
    if settings.no_new_privileges && !given("no-new-privileges") {
        more.push("no-new-privileges".to_owned());
    }
    let profile = settings.seccomp_profile.as_str();
    // A privileged container has none, whatever is configured.
    if !given("seccomp") && !host.privileged {
        match profile {
            "" | "builtin" | "default" => {}
            "unconfined" => more.push("seccomp=unconfined".to_owned()),
            file => more.push(format!("seccomp={}", read_profile(file)?)),
        }
    }
    if !more.is_empty() {
        host.security_opt.get_or_insert_default().extend(more);
    }
    Ok(())
}

fn read_profile(file: &str) -> Result<String> {
    let context = || format!("read the seccomp profile {file} of daemon.json");
    let size = std::fs::metadata(file).with_context(context)?.len();
    if size > PROFILE_MAX_BYTES {
        return Err(error::invalid(format!(
            "larger than {PROFILE_MAX_BYTES} bytes"
        )))
        .with_context(context);
    }
    let text = std::fs::read_to_string(file).with_context(context)?;
    let profile: serde_json::Value = serde_json::from_str(&text).with_context(context)?;
    Ok(profile.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::container::Ulimit;
    use std::path::Path;

    fn settings(text: &str) -> Settings {
        crate::settings::parse(text, Path::new("/d.json")).unwrap()
    }

    fn applied(text: &str, change: impl FnOnce(&mut HostConfig)) -> HostConfig {
        let mut host = HostConfig::default();
        change(&mut host);
        apply(&settings(text), &mut host).unwrap();
        host
    }

    #[test]
    fn log_options_are_those_of_their_driver() {
        let text = r#"{"log-driver": "local", "log-opts": {"max-size": "5m", "max-file": "2"}}"#;
        let host = applied(text, |host| {
            host.log_config
                .config
                .insert("max-file".to_owned(), "9".to_owned());
        });
        assert_eq!(host.log_config.kind, "local");
        assert_eq!(host.log_config.config["max-size"], "5m");
        assert_eq!(host.log_config.config["max-file"], "9");
        let other = applied(text, |host| host.log_config.kind = "json-file".to_owned());
        assert!(other.log_config.config.is_empty());
        // Options without a driver are those of the default one.
        let host = applied(r#"{"log-opts": {"max-size": "5m"}}"#, |host| {
            host.log_config.kind = "json-file".to_owned();
        });
        assert_eq!(host.log_config.config["max-size"], "5m");
    }

    #[test]
    fn what_is_asked_for_wins() {
        let text = r#"{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20, "Soft": 10}, "nproc": {"Hard": 5, "Soft": 5}},
            "default-shm-size": "1M", "init": true, "dns": ["192.0.2.1"], "no-new-privileges": true,
            "seccomp-profile": "unconfined", "cgroup-parent": "/x"}"#;
        let host = applied(text, |host| {
            host.resources.ulimits.push(Ulimit {
                name: "nofile".to_owned(),
                hard: 7,
                soft: 7,
            });
            host.security_opt = Some(vec!["no-new-privileges:false".to_owned()]);
            host.network_mode = "container:x".to_owned();
        });
        let limits: Vec<String> = host
            .resources
            .ulimits
            .iter()
            .map(|limit| format!("{}={}", limit.name, limit.hard))
            .collect();
        assert_eq!(limits, ["nofile=7", "nproc=5"]);
        assert_eq!((host.shm_size, host.init), (1 << 20, Some(true)));
        assert!(host.dns.is_empty());
        assert_eq!(
            host.security_opt.unwrap(),
            ["no-new-privileges:false", "seccomp=unconfined"]
        );
        let host = applied(text, |_| {});
        assert_eq!(host.dns, ["192.0.2.1"]);
        assert_eq!(host.resources.cgroup_parent, "/x");
        assert_eq!(applied("{}", |_| {}).security_opt, None);
    }

    #[test]
    fn isolation_that_cannot_be_had_is_refused() {
        let settings = settings(r#"{"userns-remap": "default"}"#);
        let error = apply(&settings, &mut HostConfig::default()).unwrap_err();
        assert!(error::is(&error, error::Kind::Unavailable));
    }
}
