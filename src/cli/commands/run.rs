//! Arguments of run and create.

use clap::{ArgAction, Args};

use super::spec;
use crate::cli::command::{Arguments, Spec};
use crate::cli::flags::ContainerFlags;
use crate::cli::values;

/// Options of `run` and `create` that are not of the container.
#[derive(Args, Clone, Debug, Default)]
pub struct CreateOptions {
    /// Do not check the image's signature
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = values::truth)]
    pub disable_content_trust: bool,
    /// Name of the container
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub name: String,
    /// Take the image for this platform (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// When to pull the image: "always", "missing" or "never"
    #[arg(long, value_name = "string", default_value = "missing")]
    pub pull: String,
    /// Do not show how the image is pulled
    #[arg(short, long)]
    pub quiet: bool,
    /// Give the container the API socket and the registry credentials
    #[arg(long)]
    pub use_api_socket: bool,
}

/// Arguments of `create`.
#[derive(Args, Clone, Debug, Default)]
pub struct CreateArgs {
    /// Not of the container.
    #[command(flatten)]
    pub options: CreateOptions,
    /// Of the container.
    #[command(flatten)]
    pub container: ContainerFlags,
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub detach: bool,
    /// Keys that leave the container without ending it (ctrl-p,ctrl-q)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub detach_keys: String,
    /// Pass signals on to the program
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = values::truth)]
    pub sig_proxy: bool,
    /// Not of the container.
    #[command(flatten)]
    pub options: CreateOptions,
    /// Of the container.
    #[command(flatten)]
    pub container: ContainerFlags,
}

/// `run`
pub const RUN: Spec = Spec {
    about: "Make a container from an image and start it",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    paths: &["container run", "run"],
    arguments: Arguments::AtLeast(1),
    stops_at_argument: true,
    ..spec("run", RunArgs::augment_args)
};

/// `create`
pub const CREATE: Spec = Spec {
    about: "Make a container from an image without starting it",
    paths: &["container create", "create"],
    build: CreateArgs::augment_args,
    name: "create",
    ..RUN
};
