//! `top`.

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::processes::TopArgs;
use crate::cli::face::Failed;
use crate::cli::{format, output};
use crate::engine::top;

/// The narrowest column, with the blanks after it, and those blanks: this table of docker's is wider than others.
const WIDTH: usize = 20;
const PADDING: usize = 3;

/// `top`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: TopArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let found = top::top(&engine, &container, &arguments.options).map_err(Failed::engine)?;
    let mut text = String::new();
    for row in std::iter::once(&found.titles).chain(&found.processes) {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    output::out(&format::align_with(&text, WIDTH, PADDING)?)?;
    Ok(0)
}
