//! `cp`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::transfer::CpArgs;
use crate::cli::face::Failed;
use crate::cli::human::size::bytes_short;
use crate::cli::output;
use crate::engine::copy::{self, CopyOptions, LocalError, Place, split_argument};
use crate::error;

/// Stands for standard input and output.
const STREAM: &str = "-";
/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// `cp`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: CpArgs = command::arguments(matches)?;
    let refuse = |why: &str| Err(Failed::from(error::invalid(why.to_owned())));
    if arguments.source.is_empty() {
        return refuse("source can not be empty");
    }
    if arguments.destination.is_empty() {
        return refuse("destination can not be empty");
    }
    let options = CopyOptions {
        follow_link: arguments.follow_link,
        archive: arguments.archive,
    };
    let (from, source) = split_argument(&arguments.source);
    let (to, destination) = split_argument(&arguments.destination);
    // Not the root by mistake: `cp "$container:$path"` of a variable that is not set.
    if (from.is_some() && source.is_empty()) || (to.is_some() && destination.is_empty()) {
        let why = error::invalid("bad parameter: path cannot be empty");
        return Err(Failed::engine(why));
    }
    let (size, shown) = match (from, to) {
        (Some(_), Some(_)) => return refuse("copying between containers is not supported"),
        (None, None) => return refuse("must specify at least one container source"),
        (Some(container), None) => {
            let place = Place {
                container,
                path: source,
            };
            let engine = engine(context)?;
            if destination == STREAM {
                let mut out = BufWriter::with_capacity(BUFFER_BYTES, output::stdout());
                copy::read(&engine, place, options.follow_link, &mut out).map_err(failed)?;
                out.flush().context("write to stdout")?;
                return Ok(0);
            }
            let target = Path::new(destination);
            let size = copy::copy_out(&engine, place, target, options).map_err(failed)?;
            (size, absolute(destination)?)
        }
        (None, Some(container)) => {
            let place = Place {
                container,
                path: destination,
            };
            let engine = engine(context)?;
            if source == STREAM {
                let input = std::io::stdin().as_fd().try_clone_to_owned();
                let input = File::from(input.context("read standard input")?);
                copy::write(&engine, input, place, options).map_err(failed)?;
                return Ok(0);
            }
            let size = copy::copy_in(&engine, Path::new(source), place, options).map_err(failed)?;
            (size, arguments.destination.clone())
        }
    };
    let quiet = match matches.value_source("quiet") {
        Some(clap::parser::ValueSource::CommandLine) => arguments.quiet,
        _ => !std::io::stdout().is_terminal(),
    };
    if !quiet {
        let size = bytes_short(i64::try_from(size).unwrap_or(i64::MAX));
        output::err(&format!("Successfully copied {size} to {shown}\n"));
    }
    Ok(0)
}

fn failed(error: anyhow::Error) -> Failed {
    if error.downcast_ref::<LocalError>().is_some() {
        return Failed::from(error);
    }
    Failed::engine(error)
}

fn absolute(path: &str) -> Result<String, Failed> {
    let path = std::path::absolute(path).with_context(|| format!("find {path}"))?;
    Ok(path.display().to_string())
}
