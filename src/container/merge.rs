//! How a request and an image become a container's configuration, and back at a commit.
//!
//! docker's rules: what the user gave wins; lists of variables, ports, volumes and labels are united.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::docker::container::Config;
use crate::error;
use crate::oci::image::{self, Healthcheck};

/// Fills what `config` leaves open from the image's configuration; the error is of kind `Invalid` if no command results.
pub fn with_image(mut config: Config, image: &image::Config) -> Result<Config> {
    for (own, theirs) in [
        (&mut config.user, &image.user),
        (&mut config.working_dir, &image.working_dir),
        (&mut config.stop_signal, &image.stop_signal),
    ] {
        if own.is_empty() {
            own.clone_from(theirs);
        }
    }
    unite(&mut config.exposed_ports, image.exposed_ports.as_ref());
    unite(&mut config.volumes, image.volumes.as_ref());
    for (key, value) in image.labels.iter().flatten() {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    merge_env(&mut config.env, image.env.as_ref());
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config
        .entrypoint
        .as_ref()
        .is_some_and(|words| words.len() == 1 && words[0].is_empty())
    {
        config.entrypoint = None;
    }
    config.healthcheck = merge_healthcheck(config.healthcheck, image.healthcheck.as_ref());
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
    if command_line(&config).next().is_none() {
        return Err(error::invalid("no command specified"));
    }
    Ok(config)
}

fn unite<V: Clone>(own: &mut Option<BTreeMap<String, V>>, theirs: Option<&BTreeMap<String, V>>) {
    for (key, value) in theirs.into_iter().flatten() {
        own.get_or_insert_default()
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
}

/// The image's variables follow the user's, except those whose name the user has given.
fn merge_env(own: &mut Option<Vec<String>>, theirs: Option<&Vec<String>>) {
    let Some(theirs) = theirs else { return };
    let own = own.get_or_insert_default();
    let given: Vec<String> = own
        .iter()
        .map(|variable| name_of(variable).to_owned())
        .collect();
    own.extend(
        theirs
            .iter()
            .filter(|variable| !given.iter().any(|name| name == name_of(variable)))
            .cloned(),
    );
}

fn merge_healthcheck(own: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut own), Some(image)) = (own.clone(), image) else {
        return own.or_else(|| image.cloned());
    };
    if own.test.as_ref().is_none_or(Vec::is_empty) {
        own.test.clone_from(&image.test);
    }
    for (own, theirs) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = theirs;
        }
    }
    Some(own)
}

/// Returns the name of a variable written as `NAME=VALUE` or `NAME`.
pub fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// Returns entrypoint and command, one after the other.
pub fn command_line(config: &Config) -> impl Iterator<Item = &String> {
    config
        .entrypoint
        .iter()
        .flatten()
        .chain(config.cmd.iter().flatten())
}

/// Returns the configuration that an image committed from a container with `config` has.
///
/// What belongs to one container only (host name, terminal, streams) stays out; variables that only removed one stay out.
pub fn for_commit(config: &Config) -> image::Config {
    image::Config {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.clone(),
        env: config.env.clone().map(|env| {
            env.into_iter()
                .filter(|variable| variable.contains('='))
                .collect()
        }),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.clone(),
        volumes: config.volumes.clone(),
        working_dir: config.working_dir.clone(),
        on_build: config.on_build.clone(),
        labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
        stop_signal: config.stop_signal.clone(),
        shell: config.shell.clone(),
        ..image::Config::default()
    }
}

/// Sets the variables of `changes` in `env`: `NAME=VALUE` replaces in place or is appended, `NAME` alone removes.
pub fn replace_env(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let place = env
            .iter()
            .position(|variable| name_of(variable) == name_of(change));
        match (place, change.contains('=')) {
            (Some(index), true) => env[index].clone_from(change),
            (Some(index), false) => drop(env.remove(index)),
            (None, true) => env.push(change.clone()),
            (None, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::image::Empty;

    #[expect(clippy::unnecessary_wraps, reason = "every field it fills is optional")]
    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split(' ').map(str::to_owned).collect())
    }

    fn image() -> image::Config {
        image::Config {
            cmd: words("nginx -g"),
            entrypoint: words("/entry"),
            env: words("PATH=/bin LANG=C"),
            working_dir: "/srv".into(),
            labels: Some(BTreeMap::from([
                ("a".into(), "image".into()),
                ("b".into(), "image".into()),
            ])),
            ..image::Config::default()
        }
    }

    fn check(entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>, expected: &str) {
        let config = Config {
            cmd,
            entrypoint,
            ..Config::default()
        };
        let merged = with_image(config, &image()).unwrap();
        let line: Vec<&str> = command_line(&merged).map(String::as_str).collect();
        assert_eq!(line.join(" "), expected);
    }

    #[test]
    fn commands_replace_and_entrypoints_reset() {
        check(None, None, "/entry nginx -g");
        check(None, words("sh"), "/entry sh");
        check(words("/bin/x"), None, "/bin/x");
        check(words("/bin/x"), words("y"), "/bin/x y");
        check(Some(vec![String::new()]), words("y"), "y");
        let cleared = Config {
            entrypoint: Some(vec![String::new()]),
            ..Config::default()
        };
        assert_eq!(
            with_image(cleared, &image()).unwrap_err().to_string(),
            "no command specified"
        );
    }

    #[test]
    fn lists_are_united_and_the_user_wins() {
        let config = Config {
            env: words("LANG=de NEW=1"),
            labels: BTreeMap::from([("a".into(), "user".into())]),
            volumes: Some(BTreeMap::from([("/v".into(), Empty {})])),
            ..Config::default()
        };
        let merged = with_image(config, &image()).unwrap();
        assert_eq!(merged.env, words("LANG=de NEW=1 PATH=/bin"));
        assert_eq!(
            (merged.labels["a"].as_str(), merged.labels["b"].as_str()),
            ("user", "image")
        );
        assert_eq!(merged.working_dir, "/srv");
    }

    #[test]
    fn health_checks_are_filled_field_by_field() {
        let check = |test: &str, interval| Healthcheck {
            test: words(test),
            interval,
            ..Healthcheck::default()
        };
        let image = image::Config {
            healthcheck: Some(check("CMD x", 7)),
            cmd: words("x"),
            ..image::Config::default()
        };
        let own = Config {
            healthcheck: Some(Healthcheck {
                retries: 2,
                ..Healthcheck::default()
            }),
            ..Config::default()
        };
        let merged = with_image(own, &image).unwrap().healthcheck.unwrap();
        assert_eq!(
            (merged.test, merged.interval, merged.retries),
            (words("CMD x"), 7, 2)
        );
    }

    #[test]
    fn variables_are_replaced_in_place() {
        let mut env = words("A=1 B=2").unwrap();
        replace_env(&mut env, &words("B=3 C=4 A").unwrap());
        assert_eq!(Some(env), words("B=3 C=4"));
    }
}
