//! `pull`, and the pull that `run` and `create` begin with.

use anyhow::{Context as _, Result};

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::{PullArgs, refuse_content_trust};
use crate::cli::face::Failed;
use crate::cli::progress::{Display, To};
use crate::cli::{interrupt, output};
use crate::engine::Engine;
use crate::engine::pull::{PullOptions, pull as pull_image};
use crate::engine::registries;
use crate::error;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// `pull`
pub fn pull(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PullArgs = command::arguments(matches)?;
    refuse_content_trust(arguments.disable_content_trust)?;
    let reference = Reference::parse(&arguments.reference)?;
    let is_bare = reference.tag.is_none() && reference.digest.is_none();
    if arguments.all_tags && !is_bare {
        let why = "tag can't be used with --all-tags/-a";
        return Err(Failed::from(error::invalid(why)));
    }
    let engine = engine(context)?;
    let name = if arguments.all_tags {
        reference.name()
    } else {
        reference.clone().or_latest().to_string()
    };
    if is_bare && !arguments.all_tags && !arguments.quiet {
        output::out("Using default tag: latest\n")?;
    }
    let options = PullOptions {
        platform: platform_or_default(&arguments.platform).map_err(Failed::engine)?,
        all_tags: arguments.all_tags,
    };
    let to = if arguments.quiet {
        To::Nobody
    } else {
        To::Stdout
    };
    let pulled = show(&engine, &reference, &options, to);
    pulled?;
    output::out(&format!("{name}\n"))?;
    Ok(0)
}

/// Reads `--platform` of a command for images that are here; empty means none.
pub fn platform(text: &str) -> Result<Option<Platform>> {
    parse_platform(text).context("invalid platform")
}

fn parse_platform(text: &str) -> Result<Option<Platform>> {
    let given = Some(text).filter(|text| !text.is_empty());
    given.map(Platform::parse).transpose()
}

/// Reads `--platform` of a command for which `$DOCKER_DEFAULT_PLATFORM` may say it.
pub fn platform_or_default(text: &str) -> Result<Option<Platform>> {
    let default = std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default();
    parse_platform(if text.is_empty() { &default } else { text })
}

/// Pulls and shows it.
pub fn show(
    engine: &Engine,
    reference: &Reference,
    options: &PullOptions,
    to: To,
) -> Result<(), Failed> {
    let access = registries::access(engine)?;
    let mut display = Display::new(to);
    interrupt::guard(&access.cancel, || {
        pull_image(engine, reference, options, &access, &mut |line| {
            display.show(&line);
        })
    })
}
