//! Arguments of run and create.

use anyhow::Result;
use clap::{ArgAction, Args};

use super::spec;
use crate::cli::command::{Arguments, Spec};
use crate::cli::flags::ContainerFlags;
use crate::cli::values;
use crate::docker::container::ContainerCreate;
use crate::error;

/// Options of `run` and `create` that are not of the container.
#[derive(Args, Clone, Debug, Default)]
pub struct CreateOptions {
    /// Do not check the image's signature (default true)
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    pub disable_content_trust: Option<bool>,
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
    /// Remove the container that has the name now, even if it runs; its volumes stay
    #[arg(long, requires = "name")]
    pub replace: bool,
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

impl RunArgs {
    /// Refuses `--attach` with `--detach`; docker prints this error as it is and exits with 1.
    ///
    /// The error is of kind `Invalid`.
    pub fn check_detach(&self) -> Result<()> {
        if self.detach && !self.container.attach.is_empty() {
            let both = "cannot specify both --attach and --detach";
            return Err(error::invalid(format!("conflicting options: {both}")));
        }
        Ok(())
    }

    /// Makes `request` one that nobody is attached to, if `--detach` was given.
    pub fn detach(&self, request: &mut ContainerCreate) {
        if self.detach {
            let config = &mut request.config;
            config.attach_stdin = false;
            config.attach_stdout = false;
            config.attach_stderr = false;
            config.stdin_once = false;
        }
    }
}

/// Refuses to connect a stdin that is no terminal to a container that has one (`run`, `exec`, `start`, `attach`).
///
/// The error is of kind `Invalid`; docker prints it as it is and exits with 1.
pub fn check_tty(tty: bool, attach_stdin: bool, stdin_is_terminal: bool) -> Result<()> {
    if tty && attach_stdin && !stdin_is_terminal {
        let why = error::invalid("the input device is not a TTY");
        return Err(error::with_hint(
            why,
            "leave out --tty (-t) to pass a pipe or a file to stdin",
        ));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_attached_to_what_runs_in_the_background() {
        let mut args = RunArgs {
            detach: true,
            ..RunArgs::default()
        };
        let mut request = ContainerCreate::default();
        request.config.attach_stdout = true;
        request.config.stdin_once = true;
        args.check_detach().unwrap();
        args.detach(&mut request);
        assert_eq!(request, ContainerCreate::default());
        args.container.attach = vec!["stdout".to_owned()];
        assert_eq!(
            args.check_detach().unwrap_err().to_string(),
            "conflicting options: cannot specify both --attach and --detach"
        );
    }

    #[test]
    fn a_terminal_wants_a_terminal() {
        assert!(check_tty(true, true, true).is_ok());
        assert!(check_tty(true, false, false).is_ok());
        assert!(check_tty(false, true, false).is_ok());
        assert_eq!(
            check_tty(true, true, false).unwrap_err().to_string(),
            "the input device is not a TTY"
        );
    }
}
