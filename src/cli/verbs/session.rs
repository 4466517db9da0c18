//! Sessions of `run`, `start` and `attach`: the local terminal on one side, the container on the other.

use std::io::IsTerminal as _;

use anyhow::Result;
use serde_json::Value;

use crate::cli::command::Context;
use crate::cli::flags::keys;
use crate::cli::terminal::{Carries, Far, Outcome, Output, Relay, Remote, relay};
use crate::cli::{output, preferences};
use crate::engine::attach::Session;
use crate::error;
use crate::monitor::control::Streams;

/// What is asked of a session.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Which streams are connected.
    pub streams: Streams,
    /// Whether signals are sent on.
    pub proxy_signals: bool,
    /// `--detach-keys`; empty for the default ones.
    pub detach_keys: String,
}

/// Moves bytes until the program has ended or the user detaches.
pub fn follow(session: &mut Session, options: &SessionOptions) -> Result<Outcome> {
    let keys = detach_keys(&options.detach_keys)?;
    let stream = session.stream.try_clone()?;
    let carries = if session.tty {
        Carries::Stdout
    } else {
        Carries::Frames
    };
    let remote = Remote {
        input: if options.streams.stdin {
            Some(session.stream.try_clone()?)
        } else {
            None
        },
        outputs: vec![Output {
            from: stream,
            carries,
        }],
    };
    let how = Relay {
        connection: &session.connection,
        terminal: if session.tty { Far::Monitor } else { Far::None },
        proxy_signals: options.proxy_signals,
        direct: false,
        detach_keys: &keys,
    };
    relay(remote, &how)
}

/// Returns the keys that detach: `given` by an option, else those of the caller's config.json, else nothing for the default
/// ones.
pub fn chosen_keys(context: &Context, given: &str) -> String {
    // Where nobody types, nobody detaches.
    if !given.is_empty() || !std::io::stdin().is_terminal() {
        return given.to_owned();
    }
    match preferences::document(context) {
        Ok(document) => {
            let keys = document.get("detachKeys").and_then(Value::as_str);
            keys.unwrap_or_default().to_owned()
        }
        Err(error) => {
            let text = error::line(&error);
            output::warn(&[format!("the default keys detach: {text}")]);
            String::new()
        }
    }
}

/// Reads `--detach-keys`.
pub fn detach_keys(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        Ok(keys::DEFAULT.to_vec())
    } else {
        keys::parse(text)
    }
}
