//! `run` and `create`.

use std::io::IsTerminal as _;
use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::session::{SessionOptions, chosen_keys, detach_keys, follow};
use super::{boot, engine};
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::refuse_content_trust;
use crate::cli::commands::run::{CreateArgs, CreateOptions, RunArgs};
use crate::cli::face::Failed;
use crate::cli::flags::cidfile::CidFile;
use crate::cli::flags::{self, Caller, ContainerFlags, Pull};
use crate::cli::progress::To;
use crate::cli::{output, preferences, terminal};
use crate::docker::container::ContainerCreate;
use crate::engine::create::Created;
use crate::engine::pull::PullOptions;
use crate::engine::{Engine, create, files, lifecycle};
use crate::error;
use crate::monitor::control::{StartError, Streams};
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// `create`
pub fn create(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: CreateArgs = command::arguments(matches)?;
    let mut request = request(&arguments.container, &arguments.options, "create")?;
    tell_proxies(context, &mut request, &arguments.container);
    let engine = engine(context)?;
    let Created { id, settling, .. } = make(
        &engine,
        &request,
        &arguments.options,
        &arguments.container,
        "create",
    )?;
    let made = files::make_working_dir(&engine, &engine.containers.get(&id)?);
    if let Err(error) = made {
        lifecycle::remove(&engine, &id, lifecycle::RemoveOptions::default())?;
        return Err(Failed::engine(error));
    }
    settling.wait().map_err(Failed::engine)?;
    output::out(&format!("{id}\n"))?;
    boot::hint(context, &request.host_config.restart_policy);
    Ok(0)
}

/// `run`
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: RunArgs = command::arguments(matches)?;
    let container = &arguments.container;
    let mut request = request(container, &arguments.options, "run")?;
    tell_proxies(context, &mut request, container);
    if arguments.detach {
        if !container.attach.is_empty() {
            let why = "conflicting options: cannot specify both --attach and --detach";
            return Err(Failed::from(error::invalid(why)));
        }
        let config = &mut request.config;
        (
            config.attach_stdin,
            config.attach_stdout,
            config.attach_stderr,
        ) = (false, false, false);
        config.stdin_once = false;
    } else {
        check_terminal(container.interactive && container.tty)?;
    }
    let keys = chosen_keys(context, &arguments.detach_keys);
    if !arguments.detach {
        detach_keys(&keys)?;
    }
    let streams = Streams {
        stdin: request.config.attach_stdin && request.config.open_stdin,
        stdout: request.config.attach_stdout,
        stderr: request.config.attach_stderr,
    };
    let engine = engine(context)?;
    let Created { id, settling, .. } =
        make(&engine, &request, &arguments.options, container, "run")?;
    let settling = settling.begin();
    boot::hint(context, &request.host_config.restart_policy);
    let made = engine.containers.get(&id)?;
    if arguments.detach {
        let started = lifecycle::start(&engine, &made, None);
        settling.wait().map_err(failed_start)?;
        // Also of one that could not be started, which is still there.
        output::to_whom_it_concerns(&format!("{id}\n"))?;
        started.map_err(failed_start)?;
        return Ok(0);
    }
    let session = lifecycle::start(&engine, &made, Some(streams)).map_err(failed_start)?;
    let Some(mut session) = session else {
        return Ok(0);
    };
    let options = SessionOptions {
        streams,
        proxy_signals: arguments.sig_proxy,
        detach_keys: keys,
    };
    let outcome = follow(&mut session, &options)?;
    settling.wait().map_err(failed_start)?;
    match outcome {
        terminal::Outcome::Detached => Ok(0),
        terminal::Outcome::Exited(code) => {
            if container.rm {
                session.connection.wait_gone()?;
            }
            Ok(exit_code(code))
        }
    }
}

/// Returns the exit code of this process for that of a program.
pub fn exit_code(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// Refuses a terminal in the container where there is none here to type at.
pub fn check_terminal(wanted: bool) -> Result<(), Failed> {
    if wanted && !std::io::stdin().is_terminal() {
        return Err(Failed::from(error::invalid(
            "the input device is not a TTY",
        )));
    }
    Ok(())
}

pub(super) fn request(
    container: &ContainerFlags,
    options: &CreateOptions,
    command: &'static str,
) -> Result<ContainerCreate, Failed> {
    flags::refuse_foreign(container)?;
    refuse_content_trust(options.disable_content_trust)?;
    if options.use_api_socket {
        let why = "--use-api-socket needs the Engine API, which this version does not serve";
        return Err(Failed::from(error::invalid(why)));
    }
    output::warn(&flags::resources::warnings(&container.resources.limits));
    let options_of = |error: anyhow::Error| Failed::from(error).options_of(command);
    flags::pull_policy(&options.pull).map_err(options_of)?;
    let directory = std::env::current_dir().context("find the working directory")?;
    let look_up = |name: &str| std::env::var(name).ok();
    let caller = Caller {
        look_up: &look_up,
        directory: &directory,
    };
    let mut request = flags::request(container, caller).map_err(options_of)?;
    for server in &request.host_config.dns {
        if server.parse::<IpAddr>().is_ok_and(|it| it.is_loopback()) {
            output::warn(&[format!("Localhost DNS ({server}) may fail in containers.")]);
        }
    }
    // The image is named as docker names it in its answers; whether it exists is the engine's affair.
    if request.config.tty
        && let Some(size) = terminal::size()
    {
        request.host_config.console_size = [u32::from(size.height), u32::from(size.width)];
    }
    Ok(request)
}

/// Adds the proxies of the user's config.json to the environment; a file that cannot be read is a warning, as for docker.
pub(super) fn tell_proxies(
    context: &Context,
    request: &mut ContainerCreate,
    container: &ContainerFlags,
) {
    match preferences::document(context) {
        Ok(document) => {
            let proxies = flags::proxies::environment(&document, &container.env);
            if !proxies.is_empty() {
                request.config.env.get_or_insert_default().extend(proxies);
            }
        }
        Err(error) => output::warn(&[format!("no proxies are set: {}", error::line(&error))]),
    }
}

/// Makes the container, and the file with its id if one is wanted.
fn make(
    engine: &Engine,
    request: &ContainerCreate,
    options: &CreateOptions,
    container: &ContainerFlags,
    command: &'static str,
) -> Result<Created, Failed> {
    // What goes wrong after the options is no misuse of create, and of run only by its exit code.
    let code = |failed: Failed| {
        if command == "run" {
            failed.of_run()
        } else {
            failed
        }
    };
    let failed = |error: anyhow::Error| code(Failed::engine(error));
    let cidfile = Some(&container.cidfile).filter(|path| !path.as_os_str().is_empty());
    let cidfile = cidfile.map(|path| CidFile::create(path)).transpose();
    let cidfile = cidfile.map_err(|error| code(Failed::from(error)))?;
    check_reference(&request.config.image).map_err(|error| code(Failed::from(error)))?;
    let name = Some(options.name.as_str()).filter(|name| !name.is_empty());
    let platform = super::pull::platform_or_default(&options.platform)
        .context("error parsing specified platform")
        .map_err(|error| code(Failed::from(error)))?;
    fetch(
        engine,
        &request.config.image,
        (options, platform.as_ref()),
        command,
    )?;
    let named = create::CreateOptions {
        name,
        platform: platform.as_ref(),
        replace: options.replace,
    };
    let created = create::create(engine, request.clone(), named).map_err(failed)?;
    output::warn(&created.warnings);
    if let Some(cidfile) = cidfile {
        cidfile.write(&created.id)?;
    }
    Ok(created)
}

/// Pulls the image if it is not here, or if the newest one is wanted.
fn fetch(
    engine: &Engine,
    image: &str,
    (options, platform): (&CreateOptions, Option<&Platform>),
    command: &'static str,
) -> Result<(), Failed> {
    let wanted = match flags::pull_policy(&options.pull)? {
        Pull::Never => false,
        Pull::Always => true,
        Pull::Missing => is_missing(engine, image, platform),
    };
    // An id leads to no registry.
    let Some(reference) = Reference::parse(image).ok().filter(|_| wanted) else {
        return Ok(());
    };
    let reference = reference.or_latest();
    if options.pull != "always" && !options.quiet {
        let name = reference.familiar();
        output::err(&format!("Unable to find image '{name}' locally\n"));
    }
    let pull = PullOptions {
        platform: platform.cloned(),
        all_tags: false,
    };
    let to = if options.quiet {
        To::Nobody
    } else {
        To::Stderr
    };
    super::pull::show(engine, &reference, &pull, to).map_err(|failed| failed.of_engine(command))
}

fn is_missing(engine: &Engine, image: &str, platform: Option<&Platform>) -> bool {
    match engine.images.resolve(image) {
        Ok(found) => platform.is_some_and(|platform| !platform.has(&found.image.config)),
        // What else is wrong with it is said when the container is made.
        Err(error) => error::is(&error, error::Kind::NotFound),
    }
}

/// Refuses what can be neither a name nor an id of an image.
fn check_reference(text: &str) -> Result<()> {
    let is_id = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return Ok(());
    }
    Reference::parse(text).map(drop)
}

/// A program that cannot be started has a shell's exit code; anything else is 125.
fn failed_start(error: anyhow::Error) -> Failed {
    let code = StartError::exit_code_of(&error);
    let failed = Failed::engine(error);
    match code {
        Some(code) => failed.options_of("run").code(exit_code(code)),
        None => failed.of_run(),
    }
}
