//! The `version` command, and `--version`.
//!
//! Client and engine are one program here. As docker it answers with the version of docker whose behaviour it has, since
//! programs decide by that number; its own stands beside it.

use serde::Serialize;

use crate::cli::command::{self, Context};
use crate::cli::commands::FormatArgs;
use crate::cli::face::{Face, Failed};
use crate::cli::format;
use crate::cli::output;
use crate::cli::template::{self, Template};
use crate::cli::verbs::check_context;
use crate::docker::info::ClientInfo;
use crate::docker::system::{API_VERSION, DOCKER_VERSION, MIN_API_VERSION, Version};
use crate::error;
use crate::oci::image::host_architecture;

/// Our own version.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Both halves of what `version` shows.
#[derive(Serialize)]
#[serde(rename = "system.versionInfo", rename_all = "PascalCase")]
struct VersionInfo {
    client: Client,
    server: Version,
}

/// The half that docker's client is.
#[derive(Serialize)]
#[serde(rename = "system.clientVersion", rename_all = "PascalCase")]
struct Client {
    version: &'static str,
    api_version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: &'static str,
    git_commit: String,
    os: &'static str,
    arch: &'static str,
    context: &'static str,
}

/// Prints the version.
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: FormatArgs = command::arguments(matches)?;
    check_context(context)?;
    let asked = std::env::var("DOCKER_API_VERSION").ok();
    let info = info(asked.filter(|asked| !asked.is_empty()));
    let text = match arguments.format.as_str() {
        "" => table(&info)?,
        asked => {
            let asked = if asked == "json" { "{{json .}}" } else { asked };
            let template = Template::parse(asked)
                .map_err(|error| named(&format::parsing_error(error)).code(64))?;
            let document = template::to_value(&info)?;
            // docker prints the errors of this template without its usual words before them.
            let (text, done) = template.execute_as_far_as_it_goes(&document);
            if let Err(error) = done {
                output::out(&format!("{text}\n"))?;
                return Err(named(&error.into()));
            }
            format!("{text}\n")
        }
    };
    output::out(&text)?;
    Ok(0)
}

/// Gives the template in an error the name that docker has for it.
fn named(error: &anyhow::Error) -> Failed {
    let text = error.to_string();
    let text = text.replace("template: :", "template: version:");
    Failed::from(error::invalid(
        text.replace("executing \"\"", "executing \"version\""),
    ))
}

/// Returns the line of `--version`.
pub fn line(face: Face) -> String {
    if face.is_docker() {
        format!("Docker version {DOCKER_VERSION}, build {}\n", build())
    } else {
        format!("aril version {OWN} (docker {DOCKER_VERSION}, API {API_VERSION})\n")
    }
}

fn build() -> String {
    format!("aril-{OWN}")
}

/// Returns what `info` says of the client.
pub fn client_info(debug: bool) -> ClientInfo {
    let (arch, _) = host_architecture();
    ClientInfo {
        debug,
        version: DOCKER_VERSION.to_owned(),
        git_commit: build(),
        os: "linux".to_owned(),
        arch: arch.to_owned(),
        context: "default".to_owned(),
        default_api_version: API_VERSION.to_owned(),
        ..ClientInfo::default()
    }
}

/// Returns both halves; `asked` is the version of the API that the user wants to speak, which may be none.
fn info(asked: Option<String>) -> VersionInfo {
    let (arch, _) = host_architecture();
    VersionInfo {
        client: Client {
            version: DOCKER_VERSION,
            api_version: asked.unwrap_or_else(|| API_VERSION.to_owned()),
            default_api_version: API_VERSION,
            git_commit: build(),
            os: "linux",
            arch,
            context: "default",
        },
        server: server(),
    }
}

/// Returns the half that docker's engine is (`GET /version`).
pub fn server() -> Version {
    let (arch, _) = host_architecture();
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy().into_owned();
    Version::of_this_program(OWN, arch, &kernel)
}

/// Two blocks, values below one another.
fn table(info: &VersionInfo) -> anyhow::Result<String> {
    let (client, server) = (&info.client, &info.server);
    let downgraded = if client.api_version == client.default_api_version {
        String::new()
    } else {
        format!(" (downgraded from {})", client.default_api_version)
    };
    let text = format!(
        "Client:\n Version:\t{}\n API version:\t{}{downgraded}\n Git commit:\t{}\n OS/Arch:\t{}/{}\n Context:\t{}\n\n\
         Server: {}\n Engine:\n  Version:\t{}\n  API version:\t{} (minimum version {MIN_API_VERSION})\n  \
         Git commit:\t{}\n  OS/Arch:\t{}/{}\n  Kernel:\t{}\n",
        client.version,
        client.api_version,
        client.git_commit,
        client.os,
        client.arch,
        client.context,
        server.platform.name,
        server.version,
        server.api_version,
        server.git_commit,
        server.os,
        server.arch,
        server.kernel_version,
    );
    format::align_with(&text, 20, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, template::Error> {
        Template::parse(text)?.execute(&template::to_value(&info(None)).unwrap())
    }

    #[test]
    fn what_scripts_ask_for() {
        assert_eq!(
            render("{{.Server.Version}} {{.Server.APIVersion}} {{.Client.Os}} {{.Server.Os}} {{.Client.APIVersion}} {{.Server.MinAPIVersion}} {{.Client.Context}}").unwrap(),
            "28.5.2 1.51 linux linux 1.51 1.24 default"
        );
        let json = render("{{json .}}").unwrap();
        assert!(
            json.starts_with("{\"Client\":{\"Version\":\"28.5.2\",\"ApiVersion\":\"1.51\","),
            "{json}"
        );
        assert_eq!(
            render(
                "{{range .Server.Components}}{{.Name}} {{index .Details \"ApiVersion\"}}{{end}}"
            )
            .unwrap(),
            "Engine 1.51"
        );
        assert_eq!(
            render("{{.Nope}}").unwrap_err().to_string(),
            "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type system.versionInfo"
        );
        assert!(
            table(&info(None))
                .unwrap()
                .starts_with("Client:\n Version:           28.5.2\n")
        );
    }
}
