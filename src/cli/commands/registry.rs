//! Arguments of the commands that speak with registries: pull, push, login, logout.

use anyhow::Result;
use clap::{ArgAction, Args};

use super::spec;
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;
use crate::{docker, error};

/// Arguments of `pull`.
#[derive(Args, Clone, Debug, Default)]
pub struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Do not check or make a signature (default true)
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub disable_content_trust: Option<bool>,
    /// The image for this platform (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Print the name only
    #[arg(short, long)]
    pub quiet: bool,
    /// Name, with or without a tag or digest.
    #[arg(hide = true)]
    pub reference: String,
}

/// Arguments of `push`.
#[derive(Args, Clone, Debug, Default)]
pub struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// How layers that were made here are compressed: gzip or zstd
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub compression_format: String,
    /// Do not check or make a signature (default true)
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub disable_content_trust: Option<bool>,
    /// The image for this platform (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Print the name only
    #[arg(short, long)]
    pub quiet: bool,
    /// Name, with or without a tag.
    #[arg(hide = true)]
    pub reference: String,
}

/// Arguments of `manifest inspect`.
#[derive(Args, Clone, Debug, Default)]
pub struct ManifestInspectArgs {
    /// Do without a certificate that can be checked, and without TLS
    #[arg(long)]
    pub insecure: bool,
    /// What each image of it is, too
    #[arg(short, long)]
    pub verbose: bool,
    /// Name, with or without a tag or digest.
    #[arg(hide = true)]
    pub reference: String,
}

/// Refuses `--disable-content-trust=false`, and what `DOCKER_CONTENT_TRUST` says where the option does not: who asks for
/// signatures to be checked must not get an unchecked image.
///
/// Notary's signatures are all docker ever had here, and docker 29 has dropped them. The error is of kind `Invalid`.
pub fn refuse_content_trust(disable_content_trust: Option<bool>) -> Result<()> {
    let asked =
        || std::env::var("DOCKER_CONTENT_TRUST").is_ok_and(|it| docker::truth(&it) == Some(true));
    if disable_content_trust.unwrap_or_else(|| !asked()) {
        return Ok(());
    }
    let why = error::invalid("docker content trust is not supported: signatures cannot be checked");
    Err(error::with_hint(
        why,
        "name the image by its digest (NAME@sha256:…) to get exactly that image, or give --disable-content-trust",
    ))
}

/// Arguments of `login`.
#[derive(Args, Clone, Default)]
pub struct LoginArgs {
    /// Password or token; anybody on this machine can see it here
    #[arg(short, long, value_name = "string")]
    pub password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Name of the user
    #[arg(short, long, value_name = "string")]
    pub username: Option<String>,
    /// Registry; none is Docker Hub.
    #[arg(hide = true)]
    pub server: Option<String>,
}

impl std::fmt::Debug for LoginArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginArgs")
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("password_stdin", &self.password_stdin)
            .field("username", &self.username)
            .field("server", &self.server)
            .finish()
    }
}

/// Arguments of `logout`.
#[derive(Args, Clone, Debug, Default)]
pub struct LogoutArgs {
    /// Registry; none is Docker Hub.
    #[arg(hide = true)]
    pub server: Option<String>,
}

/// Arguments of `registry serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Where to listen; nothing is 127.0.0.1:5000.
    #[arg(hide = true)]
    pub address: Option<String>,
}

/// Arguments of `mirror test`.
#[derive(Args, Clone, Debug, Default)]
pub struct MirrorTestArgs {
    /// How to print: "table", "table TEMPLATE", "json" or a template
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub format: String,
    /// Image to ask for.
    #[arg(hide = true, default_value = "busybox")]
    pub reference: String,
}

/// `pull`
pub const PULL: Spec = Spec {
    about: "Get an image from a registry",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    paths: &["image pull", "pull"],
    arguments: Arguments::Exactly(1),
    ..spec("pull", PullArgs::augment_args)
};

/// `push`
pub const PUSH: Spec = Spec {
    about: "Give an image to a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    paths: &["image push", "push"],
    arguments: Arguments::Exactly(1),
    ..spec("push", PushArgs::augment_args)
};

/// `manifest inspect`
pub const MANIFEST_INSPECT: Spec = Spec {
    about: "Show what a registry has under a name",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    arguments: Arguments::Exactly(1),
    ..spec("inspect", ManifestInspectArgs::augment_args)
};

/// `login`
pub const LOGIN: Spec = Spec {
    about: "Keep the credentials for a registry",
    usage: "[OPTIONS] [SERVER]",
    arguments: Arguments::AtMost(1),
    ..spec("login", LoginArgs::augment_args)
};

/// `logout`
pub const LOGOUT: Spec = Spec {
    about: "Forget the credentials for a registry",
    usage: "[SERVER]",
    arguments: Arguments::AtMost(1),
    ..spec("logout", LogoutArgs::augment_args)
};

/// `registry serve`
pub const SERVE: Spec = Spec {
    about: "Let others pull the images of this machine",
    usage: "[ADDRESS]",
    arguments: Arguments::AtMost(1),
    ..spec("serve", ServeArgs::augment_args)
};

/// `mirror test`
pub const MIRROR_TEST: Spec = Spec {
    about: "Ask which mirrors answer, and how fast",
    usage: "[OPTIONS] [NAME[:TAG]]",
    arguments: Arguments::AtMost(1),
    ..spec("test", MirrorTestArgs::augment_args)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_not_left_unchecked_silently() {
        assert!(refuse_content_trust(Some(true)).is_ok());
        let error = refuse_content_trust(Some(false)).unwrap_err();
        assert!(error::is(&error, error::Kind::Invalid));
        assert!(error.to_string().contains("cannot be checked"));
    }
}
