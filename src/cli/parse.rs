//! Arguments as docker reads them (the Go package pflag), on top of clap.
//!
//! A walk over the arguments finds options by the tables of the clap command, with pflag's rules and error texts: `-dit`,
//! `-e=K=V`, `-m512m`, `--flag=false`, `--`, options that end at the first argument. What it found goes to clap in one
//! plain form, so that clap only converts values; the texts of clap never reach a user.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::cli::command::{self, Spec};
use crate::cli::strconv::{number, quote};

/// What the arguments of a command are.
#[derive(Debug)]
pub enum Parsed {
    /// `--help` was among them.
    Help,
    /// For the command.
    Matches(ArgMatches),
}

/// Arguments that a command does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// For stderr, without the last line end.
    pub text: String,
    /// Exit code: 125 for options, 1 for the number of arguments.
    pub code: u8,
}

/// Reads the arguments of the command `spec`, which was called as `path` (`docker container ls`).
pub fn parse(spec: &Spec, path: &str, arguments: &[String]) -> Result<Parsed, Misuse> {
    let mut command = command::clap_command(spec);
    let walk = walk(&command, arguments, spec.stops_at_argument);
    let refusal = spec.arguments.refusal(walk.positional.len());
    let complete = walk.error.is_none() && !walk.help && refusal.is_none();
    let mut all = walk.options.arguments();
    if complete {
        all.push("--".to_owned());
        all.extend(walk.positional);
    }
    let misused = |message: &str| {
        let usage = usage_line(spec, path);
        let help = format!("Run '{path} --help' for more information");
        Misuse {
            text: format!("{message}\n\nUsage:  {usage}\n\n{help}"),
            code: 125,
        }
    };
    let error = match command.try_get_matches_from_mut(all) {
        Ok(matches) if complete => return Ok(Parsed::Matches(matches)),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    // A value that is wrong counts before what stopped the walk, since it stands before it.
    let wrong_value = error.as_ref().map(|error| invalid_value(&command, error));
    if let Some(message) = wrong_value.flatten().or(walk.error) {
        return Err(misused(&message));
    }
    if walk.help {
        return Ok(Parsed::Help);
    }
    if let Some(refusal) = refusal {
        let name = path.split(' ').next().unwrap_or_default();
        let usage = usage_line(spec, path);
        let pointer = spec.arguments.pointer();
        return Err(Misuse {
            text: format!(
                "{name}: '{path}' {refusal}\n\nUsage:  {usage}\n\n{pointer} '{path} --help' for more information"
            ),
            code: 1,
        });
    }
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    Err(misused(text.trim_end()))
}

/// Reads the options before the first argument of the program `spec`: whether help is wanted, what the options are, and
/// the rest.
pub fn leading<'a>(
    spec: &Spec,
    path: &str,
    arguments: &'a [String],
) -> Result<(bool, ArgMatches, &'a [String]), Misuse> {
    let command = command::clap_command(spec);
    let walk = walk(&command, arguments, true);
    let first = arguments.len() - walk.positional.len();
    match parse(spec, path, &arguments[..first])? {
        Parsed::Matches(matches) => Ok((false, matches, &arguments[first..])),
        Parsed::Help => {
            let matches = command
                .try_get_matches_from(walk.options.arguments())
                .map_err(|error| Misuse {
                    text: error.to_string(),
                    code: 125,
                })?;
            Ok((true, matches, &arguments[first..]))
        }
    }
}

/// Returns the usage line: a command with two forms has the second one on a line of its own.
pub fn usage_line(spec: &Spec, path: &str) -> String {
    let forms: Vec<String> = spec
        .usage
        .split('\n')
        .map(|form| format!("{path} {form}").trim_end().to_owned())
        .collect();
    forms.join("\n\t")
}

/// Returns what a person who pasted a typographic dash should write, if one of `arguments` begins with one.
pub fn dash_hint(arguments: &[String]) -> Option<String> {
    const DASHES: [char; 6] = ['\u{2010}', '\u{2011}', '\u{2012}', '–', '—', '\u{2212}'];
    let argument = arguments.iter().find(|argument| {
        argument.starts_with(DASHES) && argument.chars().nth(1).is_some_and(char::is_alphanumeric)
    })?;
    let rest = argument.trim_start_matches(DASHES);
    let hyphens = if rest.chars().count() > 1 && argument.starts_with('—') {
        "--"
    } else {
        "-"
    };
    Some(format!(
        "{argument} begins with a typographic dash; options begin with a hyphen: {hyphens}{rest}"
    ))
}

/// What a walk found.
#[derive(Default)]
struct Walk {
    options: Options,
    positional: Vec<String>,
    help: bool,
    /// What stopped it.
    error: Option<String>,
}

/// Options in the order in which they were written, in the form that clap gets.
#[derive(Default)]
struct Options {
    /// Name and value; a switch has its last value only.
    given: Vec<(String, Given)>,
}

enum Given {
    /// A switch that clap takes without a value.
    Switch(bool),
    /// Anything else.
    Value(String),
}

impl Options {
    fn add(&mut self, name: &str, given: Given) {
        if matches!(given, Given::Switch(_)) {
            self.given.retain(|(other, _)| other != name);
        }
        self.given.push((name.to_owned(), given));
    }

    fn arguments(&self) -> Vec<String> {
        let given = self.given.iter().filter_map(|(name, given)| match given {
            Given::Switch(on) => on.then(|| format!("--{name}")),
            Given::Value(value) => Some(format!("--{name}={value}")),
        });
        // clap takes the first one for the name of the program.
        std::iter::once(String::new()).chain(given).collect()
    }
}

fn walk(command: &clap::Command, arguments: &[String], stops: bool) -> Walk {
    let mut walk = Walk::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let result = match argument.as_bytes() {
            [b'-', b'-'] => {
                walk.positional.extend(rest.by_ref().cloned());
                Ok(())
            }
            [b'-', b'-', ..] => walk.long(command, &argument[2..], &mut rest),
            [b'-', _, ..] => walk.short(command, &argument[1..], &mut rest),
            _ => {
                walk.positional.push(argument.clone());
                if stops {
                    walk.positional.extend(rest.by_ref().cloned());
                }
                Ok(())
            }
        };
        if let Err(message) = result {
            walk.error = Some(message);
            break;
        }
    }
    walk
}

type Rest<'a> = std::slice::Iter<'a, String>;

impl Walk {
    /// `name`, `name=value`
    fn long(
        &mut self,
        command: &clap::Command,
        text: &str,
        rest: &mut Rest<'_>,
    ) -> Result<(), String> {
        if text.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: --{text}"));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(option) = long_option(command, name) else {
            if name == "help" {
                return self.help_flag(value.as_deref());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        let value = match value {
            Some(value) => value,
            None if is_switch(option) => "true".to_owned(),
            None => match rest.next() {
                Some(value) => value.clone(),
                None => return Err(format!("flag needs an argument: --{name}")),
            },
        };
        self.set(option, name, value)
    }

    /// `dit`, `p80:80`, `e=K=V`, `it=false`
    fn short(
        &mut self,
        command: &clap::Command,
        cluster: &str,
        rest: &mut Rest<'_>,
    ) -> Result<(), String> {
        let mut letters = cluster;
        while let Some(letter) = letters.chars().next() {
            let after = &letters[letter.len_utf8()..];
            let option = command
                .get_arguments()
                .find(|option| option.get_short() == Some(letter));
            let Some(option) = option else {
                if letter == 'h' {
                    return self.help_flag(None);
                }
                return Err(format!("unknown shorthand flag: '{letter}' in -{letters}"));
            };
            // An equals sign with nothing after it is the value itself, as in pflag.
            let written = after.strip_prefix('=').filter(|value| !value.is_empty());
            let (value, done) = match written {
                Some(value) => (value.to_owned(), true),
                None if is_switch(option) => ("true".to_owned(), false),
                None if !after.is_empty() => (after.to_owned(), true),
                None => match rest.next() {
                    Some(value) => (value.clone(), true),
                    None => {
                        return Err(format!("flag needs an argument: '{letter}' in -{letters}"));
                    }
                },
            };
            let name = option.get_long().unwrap_or_default();
            self.set(option, name, value)?;
            if done {
                return Ok(());
            }
            letters = after;
        }
        Ok(())
    }

    fn help_flag(&mut self, value: Option<&str>) -> Result<(), String> {
        let value = value.unwrap_or("true");
        self.help = number::parse_bool(value).map_err(|why| refused(value, "--help", &why))?;
        Ok(())
    }

    /// `name` is the one that was written, which may be an alias.
    fn set(&mut self, option: &Arg, name: &str, value: String) -> Result<(), String> {
        let long = option.get_long().unwrap_or(name);
        if !is_switch(option) {
            self.options.add(long, Given::Value(value));
            return Ok(());
        }
        let on = number::parse_bool(&value)
            .map_err(|why| refused(&value, &shown(option, name), &why))?;
        let given = match option.get_action() {
            ArgAction::SetTrue => Given::Switch(on),
            _ => Given::Value(on.to_string()),
        };
        self.options.add(long, given);
        Ok(())
    }
}

fn long_option<'a>(command: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|option| {
        let aliases = option.get_all_aliases().unwrap_or_default();
        option.get_long() == Some(name) || aliases.contains(&name)
    })
}

/// Whether an option is a truth value, which needs none to be written.
fn is_switch(option: &Arg) -> bool {
    let optional = |range: clap::builder::ValueRange| range.min_values() == 0;
    matches!(option.get_action(), ArgAction::SetTrue) || option.get_num_args().is_some_and(optional)
}

/// An option as error texts show it: `-m, --memory`.
fn shown(option: &Arg, name: &str) -> String {
    match option.get_short() {
        Some(short) => format!("-{short}, --{name}"),
        None => format!("--{name}"),
    }
}

fn refused(value: &str, option: &str, why: &anyhow::Error) -> String {
    let value = quote::quote(value);
    format!("invalid argument {value} for \"{option}\" flag: {why}")
}

/// The text for a value that clap could not convert, if that is what `error` says.
fn invalid_value(command: &clap::Command, error: &clap::Error) -> Option<String> {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let written = text(ContextKind::InvalidArg);
    let name = written
        .trim_start_matches('-')
        .split([' ', '=', '['])
        .next()?;
    let option = long_option(command, name)?;
    let why = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    let value = text(ContextKind::InvalidValue);
    Some(refused(
        value,
        &shown(option, name),
        &anyhow::Error::msg(why),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::{containers, images, lifecycle, lists, processes, run, transfer};

    fn strings(line: &str) -> Vec<String> {
        line.split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| word.replace("''", ""))
            .collect()
    }

    /// The first line of the complaint, and the exit code.
    fn refused(spec: &Spec, line: &str, code: u8, want: &str) {
        let path = format!("docker {}", spec.name);
        let misuse = parse(spec, &path, &strings(line)).unwrap_err();
        let first = misuse.text.lines().next().unwrap_or_default();
        assert_eq!((first, misuse.code), (want, code), "{path} {line}");
    }

    fn matches(spec: &Spec, line: &str) -> ArgMatches {
        match parse(spec, "docker x", &strings(line)) {
            Ok(Parsed::Matches(matches)) => matches,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn complaints_are_dockers() {
        let spec = &run::RUN;
        refused(spec, "--nosuch img", 125, "unknown flag: --nosuch");
        refused(spec, "-dx img", 125, "unknown shorthand flag: 'x' in -x");
        refused(spec, "-xd img", 125, "unknown shorthand flag: 'x' in -xd");
        refused(spec, "-e", 125, "flag needs an argument: 'e' in -e");
        refused(spec, "--env", 125, "flag needs an argument: --env");
        refused(spec, "-te", 125, "flag needs an argument: 'e' in -e");
        refused(spec, "---x", 125, "bad flag syntax: ---x");
        refused(spec, "--=x", 125, "bad flag syntax: --=x");
        refused(spec, "-=x", 125, "unknown shorthand flag: '=' in -=x");
        refused(spec, "-t= img", 125, "unknown shorthand flag: '=' in -=");
        refused(
            spec,
            "--rm=maybe img",
            125,
            "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
        refused(
            spec,
            "-it=xx img",
            125,
            "invalid argument \"xx\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"xx\": invalid syntax",
        );
        refused(
            spec,
            "--sig-proxy= img",
            125,
            "invalid argument \"\" for \"--sig-proxy\" flag: strconv.ParseBool: parsing \"\": invalid syntax",
        );
        refused(
            spec,
            "--stop-timeout x img",
            125,
            "invalid argument \"x\" for \"--stop-timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        );
        refused(
            spec,
            "-e= img",
            125,
            "invalid argument \"=\" for \"-e, --env\" flag: invalid environment variable: =",
        );
        refused(
            &lists::PS,
            "-n=",
            125,
            "invalid argument \"=\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"=\": invalid syntax",
        );
        refused(
            &lists::PS,
            "-f x",
            125,
            "invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)",
        );
        refused(&lists::PS, "--help --nosuch", 125, "unknown flag: --nosuch");
    }

    #[test]
    fn the_first_complaint_counts() {
        let size = "invalid argument \"lots\" for \"-m, --memory\" flag: invalid size: 'lots'";
        refused(&run::RUN, "-m lots --nosuch img", 125, size);
        refused(
            &run::RUN,
            "--nosuch -m lots img",
            125,
            "unknown flag: --nosuch",
        );
        refused(&run::RUN, "-m lots", 125, size);
    }

    #[test]
    fn numbers_of_arguments() {
        for (spec, line, want) in [
            (&run::RUN, "", "'docker run' requires at least 1 argument"),
            (
                &processes::EXEC,
                "c",
                "'docker exec' requires at least 2 arguments",
            ),
            (
                &lifecycle::RM,
                "",
                "'docker rm' requires at least 1 argument",
            ),
            (&images::TAG, "a", "'docker tag' requires 2 arguments"),
            (
                &lifecycle::RENAME,
                "a b c",
                "'docker rename' requires 2 arguments",
            ),
            (&lists::PS, "x", "'docker ps' accepts no arguments"),
            (&lists::PS, "-", "'docker ps' accepts no arguments"),
            (
                &lists::IMAGES,
                "a b",
                "'docker images' requires at most 1 argument",
            ),
            (
                &containers::COMMIT,
                "",
                "'docker commit' requires at least 1 and at most 2 arguments",
            ),
            (&transfer::LOAD, "x", "'docker load' accepts no arguments"),
        ] {
            refused(spec, line, 1, &format!("docker: {want}"));
        }
        let misuse = parse(&lifecycle::RM, "aril container rm", &[]).unwrap_err();
        assert_eq!(
            misuse.text,
            "aril: 'aril container rm' requires at least 1 argument\n\nUsage:  aril container rm [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'aril container rm --help' for more information"
        );
        let misuse = parse(&transfer::CP, "docker cp", &[]).unwrap_err();
        assert_eq!(
            misuse.text,
            "docker: 'docker cp' requires 2 arguments\n\nUsage:  docker cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n\nRun 'docker cp --help' for more information"
        );
    }

    #[test]
    fn values_and_where_options_end() {
        let run_args =
            |line: &str| command::arguments::<run::RunArgs>(&matches(&run::RUN, line)).unwrap();
        let args = run_args("-dit --name=x -p80:80 -p 81:81 -e=K=V --rm=true img -x --rm");
        assert!(args.detach && args.container.rm && args.container.tty);
        assert_eq!(args.options.name, "x");
        assert_eq!(args.container.network.publish, ["80:80", "81:81"]);
        assert_eq!(args.container.env, ["K=V"]);
        assert_eq!(args.container.image, "img");
        assert_eq!(args.container.command, ["-x", "--rm"]);
        let args = run_args("--sig-proxy=false --rm --rm=false --name a --name b -- img --");
        assert!(!args.sig_proxy && !args.container.rm);
        assert_eq!(args.options.name, "b");
        assert_eq!(args.container.command, ["--"]);
        assert!(run_args("img").sig_proxy);
        assert_eq!(run_args("-h web img").container.hostname, "web");
        let rm = |line: &str| {
            command::arguments::<lifecycle::RmArgs>(&matches(&lifecycle::RM, line)).unwrap()
        };
        let args = rm("a -f b -- -v");
        assert!(args.force && !args.volumes);
        assert_eq!(args.containers, ["a", "b", "-v"]);
        let stop = |line: &str| {
            command::arguments::<lifecycle::StopArgs>(&matches(&lifecycle::STOP, line)).unwrap()
        };
        assert_eq!(stop("a --time 3").time, Some(3));
        assert_eq!(stop("-t -1 a").timeout, Some(-1));
        assert_eq!(stop("a").timeout, None);
        let commit = matches(&containers::COMMIT, "-m=two -a=me -p=false c x:1");
        let commit: containers::CommitArgs = command::arguments(&commit).unwrap();
        assert_eq!((commit.message.as_str(), commit.pause), ("two", false));
        assert_eq!(commit.reference.as_deref(), Some("x:1"));
    }

    #[test]
    fn help_is_asked_for_in_many_ways() {
        for (spec, line) in [
            (&lists::PS, "--help"),
            (&lists::PS, "-h"),
            (&lists::PS, "-ah"),
            (&lists::PS, "x --help=true"),
            (&run::RUN, "--help"),
        ] {
            let parsed = parse(spec, "docker x", &strings(line));
            assert!(matches!(parsed, Ok(Parsed::Help)), "{line}");
        }
        let parsed = parse(&lists::PS, "docker ps", &strings("--help=false"));
        assert!(matches!(parsed, Ok(Parsed::Matches(_))));
        let parsed = parse(&run::RUN, "docker run", &strings("img --help"));
        assert!(matches!(parsed, Ok(Parsed::Matches(_))));
    }

    #[test]
    fn typographic_dashes_get_a_hint() {
        let hint = |line: &str| dash_hint(&strings(line));
        assert_eq!(
            hint("run –i –t ubuntu").unwrap(),
            "–i begins with a typographic dash; options begin with a hyphen: -i"
        );
        assert_eq!(
            hint("run —name x").unwrap(),
            "—name begins with a typographic dash; options begin with a hyphen: --name"
        );
        assert_eq!(hint("run -it a – b"), None);
    }
}
