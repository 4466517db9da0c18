//! Options of isolation: capabilities, `--security-opt`, `--sysctl`, and namespaces that are shared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::env;
use crate::cli::values;
use crate::docker::container::HostConfig;
use crate::error;

/// Options of isolation.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityFlags {
    /// Add a capability; ALL for all of them
    #[arg(long, value_name = "list")]
    pub cap_add: Vec<String>,
    /// Take a capability away; ALL for all of them
    #[arg(long, value_name = "list")]
    pub cap_drop: Vec<String>,
    /// Cgroup namespace: "private" for its own, "host" for the host's
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub cgroupns: String,
    /// IPC namespace: "private", "shareable", "host", "none" or "container:NAME"
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub ipc: String,
    /// How containers are kept apart; only "default" exists on Linux
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub isolation: String,
    /// PID namespace: "host" or "container:NAME"
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub pid: String,
    /// Give all capabilities and devices, and hide nothing
    #[arg(long)]
    pub privileged: bool,
    /// OCI runtime; all names mean the one that is built in
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub runtime: String,
    /// no-new-privileges, seccomp=FILE, apparmor=NAME, label=…, systempaths=unconfined, writable-cgroups=BOOL
    #[arg(long, value_name = "list")]
    pub security_opt: Vec<String>,
    /// Set a parameter of the kernel (NAME=VALUE)
    #[arg(long, value_name = "map", value_parser = sysctl)]
    pub sysctl: Vec<(String, String)>,
    /// User namespace: "host" for the host's
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub userns: String,
    /// UTS namespace: "host" for the host's
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub uts: String,
}

/// Adds what the options ask for to `host`; reads the file of a seccomp profile.
///
/// Errors are of kind `Invalid` with docker's texts.
pub fn apply(flags: &SecurityFlags, host: &mut HostConfig) -> Result<()> {
    let named = |mode: &str| {
        let name = mode.strip_prefix("container:");
        name.is_some_and(|name| !name.is_empty())
    };
    let any_of = |mode: &str, modes: &[&str]| mode.is_empty() || modes.contains(&mode);
    for (good, what) in [
        (
            any_of(&flags.pid, &["host"]) || named(&flags.pid),
            "--pid: invalid PID mode",
        ),
        (any_of(&flags.uts, &["host"]), "--uts: invalid UTS mode"),
        (
            any_of(&flags.userns, &["host"]),
            "--userns: invalid USER mode",
        ),
        (
            any_of(&flags.cgroupns, &["host", "private"]),
            "--cgroupns: invalid CGROUP mode",
        ),
    ] {
        if !good {
            return Err(error::invalid(what));
        }
    }
    host.cap_add = capabilities(&flags.cap_add);
    host.cap_drop = capabilities(&flags.cap_drop);
    host.cgroupns_mode.clone_from(&flags.cgroupns);
    host.ipc_mode.clone_from(&flags.ipc);
    host.isolation.clone_from(&flags.isolation);
    host.pid_mode.clone_from(&flags.pid);
    host.privileged = flags.privileged;
    host.runtime.clone_from(&flags.runtime);
    host.userns_mode.clone_from(&flags.userns);
    host.uts_mode.clone_from(&flags.uts);
    host.sysctls = flags.sysctl.iter().cloned().collect::<BTreeMap<_, _>>();
    security_options(&flags.security_opt, host)
}

/// Names in upper case with `CAP_`, sorted and each once, as docker's client sends them.
fn capabilities(names: &[String]) -> Option<Vec<String>> {
    let normal = |name: &String| {
        let name = name.trim().to_uppercase();
        match name.as_str() {
            "ALL" | "RESET" => name,
            _ if name.starts_with("CAP_") => name,
            _ => format!("CAP_{name}"),
        }
    };
    let names: BTreeSet<String> = names.iter().map(normal).collect();
    Some(names.into_iter().collect()).filter(|names: &Vec<String>| !names.is_empty())
}

fn security_options(options: &[String], host: &mut HostConfig) -> Result<()> {
    let mut kept = Vec::new();
    for option in options {
        if option == "systempaths=unconfined" {
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
            continue;
        }
        kept.push(security_option(option)?);
    }
    host.security_opt = Some(kept).filter(|_| !options.is_empty());
    Ok(())
}

/// Checks one option; a seccomp profile is sent, not the name of its file.
fn security_option(option: &str) -> Result<String> {
    const BARE: &str = "no-new-privileges";
    let pair = option.split_once('=').or_else(|| match option {
        BARE => None,
        option => option.split_once(':'),
    });
    let key = pair.map_or(option, |(key, _)| key);
    let value = pair.map_or("", |(_, value)| value);
    if value.is_empty() && key != BARE {
        let quoted = crate::cli::strconv::quote::quote(option);
        let why = format!("Invalid --security-opt: {quoted}");
        return Err(error::invalid(why));
    }
    if key != "seccomp" || matches!(value, "builtin" | "unconfined") {
        return Ok(option.to_owned());
    }
    let text = std::fs::read_to_string(value).map_err(|why| {
        let why = env::opened(value, &why);
        error::invalid(format!("opening seccomp profile ({value}) failed: {why}"))
    })?;
    if let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        let what = format!("compacting json for seccomp profile ({value}) failed");
        return Err(error::invalid(format!("{what}: {why}")));
    }
    Ok(format!("seccomp={}", compact(&text)))
}

/// JSON without the blanks between its parts; numbers and strings stay as they were written.
fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        if inside {
            inside = escaped || *c != '"';
            escaped = *c == '\\' && !escaped;
            return true;
        }
        inside = *c == '"';
        !c.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}

/// Reads an argument of `--sysctl`; only parameters of namespaces can be set.
pub fn sysctl(text: &str) -> Result<(String, String)> {
    const NAMES: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm_rmid_forced",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    ];
    let (key, value) = values::pair(text)?;
    let known =
        NAMES.contains(&key.as_str()) || key.starts_with("net.") || key.starts_with("fs.mqueue.");
    if !known || !text.contains('=') {
        return Err(error::invalid(format!("sysctl '{text}' is not allowed")));
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(flags: &SecurityFlags) -> Result<HostConfig> {
        let mut host = HostConfig::default();
        apply(flags, &mut host)?;
        Ok(host)
    }

    fn options(list: &[&str]) -> SecurityFlags {
        SecurityFlags {
            security_opt: list.iter().map(|text| (*text).to_owned()).collect(),
            ..SecurityFlags::default()
        }
    }

    #[test]
    fn modes() {
        let check = |set: fn(&mut SecurityFlags, String), value: &str, want: Option<&str>| {
            let mut flags = SecurityFlags::default();
            set(&mut flags, value.to_owned());
            let got = applied(&flags).err().map(|error| error.to_string());
            assert_eq!(got.as_deref(), want, "{value}");
        };
        let pid: fn(&mut SecurityFlags, String) = |flags, value| flags.pid = value;
        for good in ["", "host", "container:x"] {
            check(pid, good, None);
        }
        for bad in ["foo", "container:", "container"] {
            check(pid, bad, Some("--pid: invalid PID mode"));
        }
        check(
            |flags, value| flags.uts = value,
            "foo",
            Some("--uts: invalid UTS mode"),
        );
        check(
            |flags, value| flags.userns = value,
            "foo",
            Some("--userns: invalid USER mode"),
        );
        check(
            |flags, value| flags.cgroupns = value,
            "foo",
            Some("--cgroupns: invalid CGROUP mode"),
        );
        check(|flags, value| flags.cgroupns = value, "private", None);
        check(|flags, value| flags.ipc = value, "foo", None);
    }

    #[test]
    fn capabilities_get_their_prefix() {
        let flags = SecurityFlags {
            cap_add: ["chown", "CAP_SYS_ADMIN", "all"]
                .map(str::to_owned)
                .to_vec(),
            ..SecurityFlags::default()
        };
        let host = applied(&flags).unwrap();
        let want = ["ALL", "CAP_CHOWN", "CAP_SYS_ADMIN"].map(str::to_owned);
        assert_eq!(host.cap_add.as_deref(), Some(&want[..]));
        assert_eq!(host.cap_drop, None);
    }

    #[test]
    fn security_options_are_checked_and_profiles_read() {
        let path = std::env::temp_dir().join(format!("aril-seccomp-{}", std::process::id()));
        std::fs::write(
            &path,
            "{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"z \\\" q\": [1, 2.50] }",
        )
        .unwrap();
        let profile = format!("seccomp={}", path.display());
        let got = applied(&options(&[
            "no-new-privileges",
            "no-new-privileges:true",
            "label:disable",
            "apparmor=x",
            "systempaths=unconfined",
            "seccomp=unconfined",
            &profile,
        ]));
        std::fs::write(&path, "{").unwrap();
        let broken = applied(&options(&[&profile])).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        let host = got.unwrap();
        let want = [
            "no-new-privileges",
            "no-new-privileges:true",
            "label:disable",
            "apparmor=x",
            "seccomp=unconfined",
            "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\",\"z \\\" q\":[1,2.50]}",
        ];
        assert_eq!(host.security_opt.unwrap(), want);
        assert_eq!(host.masked_paths, Some(Vec::new()));
        assert!(
            broken.contains("compacting json for seccomp profile"),
            "{broken}"
        );
        for (option, want) in [
            ("x", "Invalid --security-opt: \"x\""),
            ("label=", "Invalid --security-opt: \"label=\""),
            (
                "seccomp=/nosuch",
                "opening seccomp profile (/nosuch) failed: open /nosuch: no such file or directory",
            ),
        ] {
            assert_eq!(applied(&options(&[option])).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn only_parameters_of_namespaces() {
        for text in [
            "net.core.somaxconn=100",
            "fs.mqueue.msg_max=1",
            "kernel.msgmax=4096",
            "net.x=",
        ] {
            assert!(sysctl(text).is_ok(), "{text}");
        }
        for text in ["a", "a=b", "kernel.hostname=x", "net.ipv4.ip_forward", "=1"] {
            let want = format!("sysctl '{text}' is not allowed");
            assert_eq!(sysctl(text).unwrap_err().to_string(), want);
        }
    }
}
