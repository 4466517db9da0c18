//! `login` and `logout`.

use std::io::Read as _;

use anyhow::{Context as _, Result};

use super::{check_context, client};
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::{LoginArgs, LogoutArgs};
use crate::cli::face::Failed;
use crate::cli::output;
use crate::cli::terminal::prompt;
use crate::engine::registries::{self, Access};
use crate::engine::{Engine, login};
use crate::error::{self, Kind};
use crate::registry::credentials::{self, Kept};
use crate::registry::endpoint::{Credentials, HUB_CREDENTIALS, Secret};

/// The longest password that is read from standard input.
const PASSWORD_MAX_BYTES: u64 = 1 << 20;

/// `login`
pub fn login(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let mut arguments: LoginArgs = command::arguments(matches)?;
    check(&arguments).map_err(error::invalid)?;
    let mut password = arguments.password.take().map(Secret::new);
    let user = arguments.username.take().unwrap_or_default();
    if password.is_some() {
        output::err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    }
    if arguments.password_stdin {
        password = Some(from_stdin()?).filter(|password| !password.expose().is_empty());
    }
    check_context(context)?;
    let engine = client(context);
    let access = registries::access(&engine)?;
    warn_of_environment(&access);
    let key = login::key(arguments.server.as_deref().unwrap_or_default());
    let is_asked = user.is_empty() && password.is_none();
    if is_asked && with_kept((&engine, &access, context.face.name), &key)? {
        return Ok(0);
    }
    let (user, password) = ask(&access, &key, &user, password)?;
    let credentials = Credentials::Password {
        user: user.clone(),
        password,
    };
    let credentials = login::check(&engine, &access, &key, &credentials).map_err(Failed::engine)?;
    let kept =
        login::keep(&access, &key, &user, &credentials).context("Error saving credentials")?;
    if let Kept::File(path) = kept {
        output::err(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
            path.display()
        ));
    }
    output::out("Login Succeeded\n")?;
    Ok(0)
}

/// Refuses options that say nothing, or too much.
fn check(arguments: &LoginArgs) -> Result<(), &'static str> {
    if arguments.password_stdin {
        if arguments.password.is_some() {
            return Err("conflicting options: cannot specify both --password and --password-stdin");
        }
        if arguments.username.is_none() {
            return Err("the --password-stdin option requires --username to be set");
        }
    }
    if arguments.username.as_deref() == Some("") {
        return Err("username is empty");
    }
    if arguments.password.as_deref() == Some("") {
        return Err("password is empty");
    }
    Ok(())
}

fn from_stdin() -> Result<Secret> {
    let mut text = String::new();
    std::io::stdin()
        .take(PASSWORD_MAX_BYTES)
        .read_to_string(&mut text)
        .context("read the password")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

fn warn_of_environment(access: &Access) {
    if access.credentials.has_environment() {
        output::err(
            "WARNING: DOCKER_AUTH_CONFIG is set and takes precedence over what login and logout keep.\n",
        );
    }
}

/// Tries what is kept already; returns whether that was enough.
fn with_kept(
    (engine, access, program): (&Engine, &Access, &str),
    key: &str,
) -> Result<bool, Failed> {
    let kept = access.credentials.kept(key)?;
    let user = match &kept {
        Credentials::Password { user, .. } => user.clone(),
        _ => return Ok(false),
    };
    output::err(&format!(
        "Authenticating with existing credentials... [Username: {user}]\n\n Info -> To login with a different account, run '{program} logout' followed by '{program} login'\n\n\n"
    ));
    match login::check(engine, access, key, &kept) {
        Ok(found) => {
            if found != kept {
                login::keep(access, key, &user, &found).context("Error saving credentials")?;
            }
            output::out("Login Succeeded\n")?;
            Ok(true)
        }
        Err(error) if error::is(&error, Kind::Forbidden) => {
            output::err("Stored credentials invalid or expired\n");
            Ok(false)
        }
        Err(error) => {
            output::err(&format!(
                "Login did not succeed, error: {}\n",
                error::line(&error)
            ));
            Ok(false)
        }
    }
}

/// Asks for what is not given.
fn ask(
    access: &Access,
    key: &str,
    user: &str,
    password: Option<Secret>,
) -> Result<(String, Secret)> {
    if let Some(password) = password.clone()
        && !user.is_empty()
    {
        return Ok((user.to_owned(), password));
    }
    if !prompt::is_possible() {
        let error =
            error::invalid("Error: Cannot perform an interactive login from a non TTY device");
        return Err(error::with_hint(
            error,
            "give --username and --password-stdin",
        ));
    }
    let user = if user.is_empty() {
        if key == HUB_CREDENTIALS {
            output::out(
                "Log in to Docker Hub. A personal access token can stand in the password's place.\n\n",
            )?;
        }
        let known = match access.credentials.kept(key) {
            Ok(Credentials::Password { user, .. }) => Some(user),
            _ => None,
        };
        let question = known.as_deref().map_or_else(
            || "Username: ".to_owned(),
            |user| format!("Username ({user}): "),
        );
        let answer = prompt::line(&question)?;
        let user = if answer.is_empty() {
            known.unwrap_or_default()
        } else {
            answer
        };
        if user.is_empty() {
            return Err(error::invalid("Error: Non-null Username Required"));
        }
        user
    } else {
        user.to_owned()
    };
    let password = match password {
        Some(password) => password,
        None => Secret::new(prompt::secret("Password: ")?),
    };
    if password.expose().is_empty() {
        return Err(error::invalid("Error: Password Required"));
    }
    Ok((user, password))
}

/// `logout`
pub fn logout(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: LogoutArgs = command::arguments(matches)?;
    let engine = client(context);
    let access = registries::access(&engine)?;
    warn_of_environment(&access);
    let key = login::key(arguments.server.as_deref().unwrap_or_default());
    output::out(&format!("Removing login credentials for {key}\n"))?;
    if let Err(error) = login::forget(&access, &key) {
        let host = credentials::host(&key);
        output::err(&format!(
            "WARNING: could not erase credentials:\n{host}: {}\n",
            error::line(&error)
        ));
    }
    Ok(0)
}
