//! `manifest inspect`

use anyhow::Context as _;
use serde::Serialize as _;
use serde_json::Value;

use super::client;
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::ManifestInspectArgs;
use crate::cli::face::Failed;
use crate::cli::{interrupt, output};
use crate::engine::manifest::{InspectOptions, Shown, inspect as inspect_manifest};
use crate::engine::registries;
use crate::oci::reference::Reference;

/// `manifest inspect`
pub fn inspect(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ManifestInspectArgs = command::arguments(matches)?;
    let reference = Reference::parse(&arguments.reference)?;
    let engine = client(context);
    let access = registries::access(&engine)?;
    let options = InspectOptions {
        verbose: arguments.verbose,
        insecure: arguments.insecure,
    };
    let shown = interrupt::guard(&access.cancel, || {
        inspect_manifest(&engine, &reference, options, &access)
    });
    // docker's client asks for it by itself.
    let shown = shown.map_err(Failed::of_client)?;
    output::out(&text(&shown, arguments.verbose)?)?;
    Ok(0)
}

/// As docker prints it: an index by three blanks, everything else by tabs.
fn text(shown: &Shown, verbose: bool) -> anyhow::Result<String> {
    if verbose {
        return match shown.described.as_slice() {
            [one] if !shown.is_index => indented(one, b"\t"),
            all => indented(&Value::Array(all.to_vec()), b"\t"),
        };
    }
    let value: Value = serde_json::from_slice(&shown.bytes).context("read the manifest")?;
    indented(&value, if shown.is_index { b"   " } else { b"\t" })
}

fn indented(value: &Value, indent: &[u8]) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .context("encode the manifest")?;
    bytes.push(b'\n');
    String::from_utf8(bytes).context("encode the manifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_indented_as_docker_does() {
        let shown = |is_index| Shown {
            bytes: br#"{"a":[1]}"#.to_vec(),
            is_index,
            described: vec![serde_json::json!({"Ref": "x"})],
        };
        assert_eq!(
            text(&shown(true), false).unwrap(),
            "{\n   \"a\": [\n      1\n   ]\n}\n"
        );
        assert_eq!(
            text(&shown(false), false).unwrap(),
            "{\n\t\"a\": [\n\t\t1\n\t]\n}\n"
        );
        assert_eq!(
            text(&shown(false), true).unwrap(),
            "{\n\t\"Ref\": \"x\"\n}\n"
        );
        assert_eq!(
            text(&shown(true), true).unwrap(),
            "[\n\t{\n\t\t\"Ref\": \"x\"\n\t}\n]\n"
        );
    }
}
