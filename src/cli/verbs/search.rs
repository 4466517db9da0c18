//! `search`.

use anyhow::Result;

use super::{check_context, client, filters};
use crate::cli::command::{self, Context};
use crate::cli::commands::lists::SearchArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::cli::rows::search as rows;
use crate::engine::{registries, search};

/// `search`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: SearchArgs = command::arguments(matches)?;
    let format = rows::LIST.format(&arguments.format, false)?;
    check_context(context)?;
    let engine = client(context);
    let access = registries::access(&engine)?;
    let filters = filters(&arguments.filter.filter)?;
    if filters.values("is-automated").next().is_some() {
        output::err(
            "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.\n",
        );
    }
    let found = search::search(&engine, &access, &arguments.term, arguments.limit, &filters)
        .map_err(Failed::engine)?;
    let rows: Vec<_> = found
        .iter()
        .map(|found| rows::row(found, arguments.no_trunc))
        .collect();
    output::out(&format.render(rows::LIST.columns, &rows)?)?;
    Ok(0)
}
