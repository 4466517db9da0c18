//! `push`

use anyhow::Result;

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::{PushArgs, refuse_content_trust};
use crate::cli::face::Failed;
use crate::cli::progress::{Display, To};
use crate::cli::{interrupt, output};
use crate::engine::push::{PushOptions, push as push_image};
use crate::engine::{images, registries};
use crate::error;
use crate::image::deflate::Format;
use crate::oci::reference::Reference;

/// `push`
pub fn push(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: PushArgs = command::arguments(matches)?;
    refuse_content_trust(arguments.disable_content_trust)?;
    let mut reference = Reference::parse(&arguments.reference)?;
    let format = match arguments.compression_format.as_str() {
        "" | "gzip" => Format::Gzip,
        "zstd" => Format::Zstd,
        other => {
            let why = format!("invalid compression format {other:?}: it is gzip or zstd");
            return Err(Failed::from(error::invalid(why)));
        }
    };
    if reference.digest.is_some() {
        return Err(Failed::from(error::invalid(
            "cannot push a digest reference",
        )));
    }
    let is_bare = reference.tag.is_none() && reference.digest.is_none();
    if arguments.all_tags && !is_bare {
        let why = "tag can't be used with --all-tags/-a";
        return Err(Failed::from(error::invalid(why)));
    }
    if is_bare && !arguments.all_tags {
        reference = reference.or_latest();
        if !arguments.quiet {
            output::out("Using default tag: latest\n")?;
        }
    }
    let engine = engine(context)?;
    let platform = super::pull::platform(&arguments.platform)?;
    if !arguments.all_tags {
        let name = reference.familiar();
        images::on_platform(&engine, &name, platform.as_ref()).map_err(Failed::engine)?;
    }
    let options = PushOptions {
        all_tags: arguments.all_tags,
        format,
    };
    let access = registries::access(&engine)?;
    let mut display = Display::new(if arguments.quiet {
        To::Nobody
    } else {
        To::Stdout
    });
    interrupt::guard(&access.cancel, || {
        push_image(&engine, &reference, options, &access, &mut |line| {
            display.show(&line);
        })
    })
    // What goes wrong from here on is part of the progress for docker.
    .map_err(Failed::of_client)?;
    if arguments.quiet {
        output::out(&format!("{reference}\n"))?;
    }
    Ok(0)
}
