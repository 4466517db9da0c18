//! `--change` of commit and import: instructions of a Dockerfile that only touch the configuration.
//!
//! docker applies them to an empty configuration and fills in the container's afterwards, and its ENTRYPOINT drops a CMD
//! that stood before it; both are the caller's and the user's to know.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::words;
use crate::error;
use crate::oci::image::{Config, Empty, Healthcheck};

/// The shell of the shell form of CMD, ENTRYPOINT and HEALTHCHECK.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// The shortest time between two health checks, in nanoseconds.
const HEALTH_MIN_NS: i64 = 1_000_000;

/// Applies `changes`, each one or more lines of a Dockerfile, to `config`.
///
/// Allowed are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR, in any
/// case. Errors are of kind `Invalid`.
pub fn apply(config: &mut Config, changes: &[String]) -> Result<()> {
    let mut state = State {
        config,
        command_set: false,
    };
    for change in changes {
        let lines = lines(change);
        if lines.is_empty() {
            return Err(error::invalid("file with no instructions"));
        }
        for line in &lines {
            state
                .line(line)
                .map_err(|error| error::invalid(format!("{error:#}")))?;
        }
    }
    Ok(())
}

/// Joins lines that end in a backslash, and drops comments and empty ones.
fn lines(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut joined = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && joined.is_empty()) {
            continue;
        }
        if let Some(start) = trimmed.strip_suffix('\\') {
            joined.push_str(start);
            continue;
        }
        joined.push_str(trimmed);
        all.push(std::mem::take(&mut joined));
    }
    if !joined.is_empty() {
        all.push(joined);
    }
    all
}

struct State<'a> {
    config: &'a mut Config,
    /// Whether a CMD stood before; ENTRYPOINT keeps only such a one.
    command_set: bool,
}

impl State<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let name = instruction.to_ascii_uppercase();
        match name.as_str() {
            "CMD" => {
                // An empty one leaves what the container has, as with docker.
                let command = self.command(rest);
                if !command.is_empty() {
                    self.config.cmd = Some(command);
                    self.command_set = true;
                }
            }
            "ENTRYPOINT" => {
                let command = self.command(rest);
                if !command.is_empty() && !self.command_set {
                    self.config.cmd = None;
                }
                self.config.entrypoint = Some(command).filter(|command| !command.is_empty());
            }
            "ENV" => {
                for (key, value) in pairs(&name, rest, self.env())? {
                    set_env(self.config.env.get_or_insert_default(), &key, &value);
                }
            }
            "EXPOSE" => self.expose(rest)?,
            "HEALTHCHECK" => self.config.healthcheck = Some(Self::healthcheck(rest)?),
            "LABEL" => {
                let labels = pairs(&name, rest, self.env())?;
                self.config.labels.get_or_insert_default().extend(labels);
            }
            "ONBUILD" => self.on_build(rest)?,
            "STOPSIGNAL" => self.config.stop_signal = stop_signal(&self.single(&name, rest)?)?,
            // The rest of the line, whatever is in it.
            "USER" => match words::split(rest).len() {
                0 | 1 => self.config.user = self.single(&name, rest)?,
                _ => rest.clone_into(&mut self.config.user),
            },
            "VOLUME" => self.volume(rest)?,
            "WORKDIR" => {
                let path = self.single(&name, rest)?;
                self.config.working_dir = working_dir(&self.config.working_dir, &path);
            }
            _ => anyhow::bail!("{instruction} is not a valid change command"),
        }
        Ok(())
    }

    fn env(&self) -> &[String] {
        self.config.env.as_deref().unwrap_or_default()
    }

    /// The exec form is a list in JSON; everything else is for the shell.
    fn command(&self, text: &str) -> Vec<String> {
        if text.is_empty() {
            return Vec::new();
        }
        if let Some(list) = json_list(text) {
            return list;
        }
        let mut command = match self.config.shell.as_deref() {
            Some(shell) if !shell.is_empty() => shell.to_vec(),
            _ => SHELL.map(str::to_owned).to_vec(),
        };
        command.push(text.to_owned());
        command
    }

    fn single(&self, name: &str, rest: &str) -> Result<String> {
        let words = words::split(rest);
        let [word] = words.as_slice() else {
            anyhow::bail!("{name} requires exactly one argument");
        };
        words::expand(word, self.env())
    }

    fn expose(&mut self, rest: &str) -> Result<()> {
        let words = words::split(rest);
        anyhow::ensure!(!words.is_empty(), "EXPOSE requires at least one argument");
        let mut ports = BTreeMap::new();
        for word in words {
            let expanded = words::expand(&word, self.env())?;
            for text in expanded.split_whitespace() {
                ports.extend(exposed(text)?.into_iter().map(|port| (port, Empty {})));
            }
        }
        self.config
            .exposed_ports
            .get_or_insert_default()
            .extend(ports);
        Ok(())
    }

    fn volume(&mut self, rest: &str) -> Result<()> {
        let paths = json_list(rest).unwrap_or_else(|| words::split(rest));
        anyhow::ensure!(!paths.is_empty(), "VOLUME requires at least one argument");
        for path in paths {
            let path = words::expand(&path, self.env())?;
            anyhow::ensure!(
                !path.is_empty(),
                "VOLUME specified can not be an empty string"
            );
            let volumes = self.config.volumes.get_or_insert_default();
            volumes.insert(path, Empty {});
        }
        Ok(())
    }

    fn on_build(&mut self, rest: &str) -> Result<()> {
        anyhow::ensure!(!rest.is_empty(), "ONBUILD requires at least one argument");
        let trigger = rest.split_whitespace().next().unwrap_or_default();
        match trigger.to_ascii_uppercase().as_str() {
            "ONBUILD" => anyhow::bail!("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            trigger @ ("MAINTAINER" | "FROM") => {
                anyhow::bail!("{trigger} isn't allowed as an ONBUILD trigger")
            }
            _ => {}
        }
        let steps = self.config.on_build.get_or_insert_default();
        steps.push(rest.to_owned());
        Ok(())
    }

    fn healthcheck(rest: &str) -> Result<Healthcheck> {
        let mut check = Healthcheck::default();
        let mut rest = rest;
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            rest = after.trim_start();
            let (name, value) = flag
                .split_once('=')
                .with_context(|| format!("Missing a value on flag: {flag}"))?;
            match name {
                "interval" => check.interval = health_time(name, value)?,
                "timeout" => check.timeout = health_time(name, value)?,
                "start-period" => check.start_period = health_time(name, value)?,
                "start-interval" => check.start_interval = health_time(name, value)?,
                "retries" => {
                    let retries: i32 = value
                        .parse()
                        .map_err(|_| anyhow::anyhow!("invalid number of retries {value:?}"))?;
                    anyhow::ensure!(retries >= 0, "--retries cannot be negative ({retries})");
                    check.retries = i64::from(retries);
                }
                _ => anyhow::bail!("unknown flag: --{name}"),
            }
        }
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let command = command.trim();
        let test = match kind.to_ascii_uppercase().as_str() {
            "" => anyhow::bail!("HEALTHCHECK requires at least one argument"),
            "NONE" if command.is_empty() => vec!["NONE".to_owned()],
            "NONE" => anyhow::bail!("HEALTHCHECK NONE takes no arguments"),
            "CMD" if command.is_empty() => anyhow::bail!("Missing command after HEALTHCHECK CMD"),
            "CMD" => match json_list(command) {
                Some(list) => [vec!["CMD".to_owned()], list].concat(),
                None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
            },
            unknown => anyhow::bail!("Unknown type {unknown:?} in HEALTHCHECK (try CMD)"),
        };
        check.test = Some(test);
        Ok(check)
    }
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// `NAME=VALUE …`, or the old form `NAME everything else`.
fn pairs(instruction: &str, rest: &str, env: &[String]) -> Result<Vec<(String, String)>> {
    let words = words::split(rest);
    let Some(first) = words.first() else {
        anyhow::bail!("{instruction} requires at least one argument");
    };
    let given = if first.contains('=') {
        words
            .iter()
            .map(|word| {
                let pair = word.split_once('=');
                pair.with_context(|| {
                    format!(
                        "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
                    )
                })
            })
            .collect::<Result<Vec<_>>>()?
    } else {
        let pair = rest.split_once(char::is_whitespace);
        let (name, value) =
            pair.with_context(|| format!("{instruction} must have two arguments"))?;
        vec![(name, value.trim_start())]
    };
    given
        .into_iter()
        .map(|(name, value)| {
            let name = words::expand(name, env)?;
            anyhow::ensure!(!name.is_empty(), "{instruction} names can not be blank");
            Ok((name, words::expand(value, env)?))
        })
        .collect()
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let known = |known: &String| known.split('=').next() == Some(name);
    match env.iter().position(known) {
        Some(at) => env[at] = entry,
        None => env.push(entry),
    }
}

/// `[[ip:]host:]port[-port][/protocol]` → `port/protocol`, one per port; only the container's side counts here.
fn exposed(text: &str) -> Result<Vec<String>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    anyhow::ensure!(
        matches!(protocol.as_str(), "tcp" | "udp" | "sctp"),
        "Invalid proto: {protocol}"
    );
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let port = |text: &str| -> Result<u16> {
        let parsed = text.parse::<u16>().ok().filter(|port| *port > 0);
        parsed.with_context(|| format!("Invalid containerPort: {ports}"))
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(ports)?, port(ports)?),
    };
    anyhow::ensure!(first <= last, "Invalid containerPort: {ports}");
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// The path of a WORKDIR, seen from the one before, without `.` and `..`.
fn working_dir(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{before}/{path}")
    };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn stop_signal(text: &str) -> Result<String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = text.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n));
    let real_time = name
        .strip_prefix("RTMIN+")
        .or_else(|| name.strip_prefix("RTMAX-"))
        .is_some_and(|offset| offset.parse::<u8>().is_ok_and(|n| n <= 30));
    let named = format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .is_ok();
    let edge = matches!(name, "RTMIN" | "RTMAX");
    anyhow::ensure!(
        number || real_time || named || edge,
        "invalid signal: {text}"
    );
    Ok(text.to_owned())
}

fn health_time(name: &str, value: &str) -> Result<i64> {
    let duration = value.parse::<jiff::SignedDuration>().ok();
    let nanoseconds = duration.and_then(|duration| i64::try_from(duration.as_nanos()).ok());
    let nanoseconds = nanoseconds.with_context(|| format!("time: invalid duration {value:?}"))?;
    anyhow::ensure!(
        nanoseconds == 0 || nanoseconds >= HEALTH_MIN_NS,
        "Interval {name:?} cannot be less than 1ms"
    );
    Ok(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> serde_json::Value {
        let mut config = Config::default();
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        apply(&mut config, &lines).unwrap();
        serde_json::to_value(config).unwrap()
    }

    fn check(lines: &[&str], expected: &serde_json::Value) {
        assert_eq!(changed(lines), *expected, "{lines:?}");
    }

    fn refused(line: &str, why: &str) {
        let error = apply(&mut Config::default(), &[line.to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), why, "{line}");
        assert!(error::is(&error, error::Kind::Invalid));
    }

    #[test]
    fn each_instruction_sets_its_field() {
        use serde_json::json;
        check(&["CMD [\"cat\",\"/f\"]"], &json!({"Cmd": ["cat", "/f"]}));
        check(
            &["cmd echo hi"],
            &json!({"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        );
        check(
            &["CMD [\"broken\""],
            &json!({"Cmd": ["/bin/sh", "-c", "[\"broken\""]}),
        );
        check(
            &["ENTRYPOINT [\"a\"]", "ENTRYPOINT []", "CMD []"],
            &json!({}),
        );
        check(&["USER a b"], &json!({"User": "a b"}));
        check(
            &["ENV A=1 B=\"x y\" C='$A'", "ENV D $A and $B", "ENV A=2"],
            &json!({"Env": ["A=2", "B=x y", "C=$A", "D=1 and x y"]}),
        );
        check(
            &["EXPOSE 80 443/TCP 53/udp 8000-8002", "EXPOSE 127.0.0.1:1:2"],
            &json!({"ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {},
                "8002/tcp": {}, "2/tcp": {}}}),
        );
        check(
            &["LABEL k=v \"a b\"=c", "LABEL old one two"],
            &json!({"Labels": {"k": "v", "a b": "c", "old": "one two"}}),
        );
        check(
            &["WORKDIR /a", "WORKDIR b/../c/."],
            &json!({"WorkingDir": "/a/c"}),
        );
        check(&["WORKDIR w"], &json!({"WorkingDir": "/w"}));
        check(&["USER 1:2"], &json!({"User": "1:2"}));
        check(
            &["VOLUME /a /b", "VOLUME [\"/c d\"]"],
            &json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}),
        );
        check(&["STOPSIGNAL USR1"], &json!({"StopSignal": "USR1"}));
        check(&["ONBUILD RUN make"], &json!({"OnBuild": ["RUN make"]}));
        check(
            &["HEALTHCHECK --interval=1m30s --timeout=300ms --retries=4 CMD curl -f x"],
            &json!({"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 90_000_000_000_i64,
                "Timeout": 300_000_000, "Retries": 4}}),
        );
        check(
            &["HEALTHCHECK NONE"],
            &json!({"Healthcheck": {"Test": ["NONE"]}}),
        );
        check(
            &["HEALTHCHECK cmd [\"a\"]"],
            &json!({"Healthcheck": {"Test": ["CMD", "a"]}}),
        );
        check(
            &["# comment\nENV A=1 \\\n  B=2\n\nUSER x"],
            &json!({"Env": ["A=1", "B=2"], "User": "x"}),
        );
    }

    #[test]
    fn an_entrypoint_drops_a_command_from_before() {
        let mut config = Config {
            cmd: Some(vec!["old".to_owned()]),
            ..Config::default()
        };
        apply(&mut config, &["ENTRYPOINT [\"e\"]".to_owned()]).unwrap();
        assert_eq!(config.cmd, None);
        let kept = changed(&["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"]);
        assert_eq!(kept["Cmd"][0], "c");
    }

    #[test]
    fn what_is_wrong_is_said_as_docker_says_it() {
        refused("FROM x", "FROM is not a valid change command");
        refused("run x", "run is not a valid change command");
        refused("ENV", "ENV requires at least one argument");
        refused("ENV A", "ENV must have two arguments");
        refused(
            "ENV A=1 B",
            "Syntax error - can't find = in \"B\". Must be of the form: name=value",
        );
        refused("EXPOSE x", "Invalid containerPort: x");
        refused("EXPOSE 1/x", "Invalid proto: x");
        refused("USER", "USER requires exactly one argument");
        refused("STOPSIGNAL NOPE", "invalid signal: NOPE");
        refused(
            "ONBUILD ONBUILD x",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        );
        refused("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger");
        refused("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments");
        refused(
            "HEALTHCHECK --interval=1us CMD x",
            "Interval \"interval\" cannot be less than 1ms",
        );
        refused("VOLUME \"\"", "VOLUME specified can not be an empty string");
    }
}
