//! What fronts branch on: the kind of an error, and the hint that ends a message a user can act on.
//!
//! Everything else about an error is its text, carried by `anyhow`. The command line turns a [`Kind`] into an exit
//! code, the API into a status; each by one table. This file knows neither.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// What sort of failure an error is, for the fronts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The object that was named does not exist.
    NotFound,
    /// The object's state, or another object, forbids the operation.
    Conflict,
    /// The request itself is wrong: a bad value, a bad combination.
    Invalid,
    /// Nothing had to be done.
    NotModified,
    /// The caller may not do this.
    Forbidden,
    /// Something this needs is missing on this machine or in this kernel.
    Unavailable,
}

/// An error with a [`Kind`]; made by the constructors of this module.
#[derive(Debug)]
struct Kinded {
    kind: Kind,
    message: String,
    by_client: bool,
}

impl fmt::Display for Kinded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Kinded {}

/// An error with one line that says what the user can do about it.
#[derive(Debug)]
struct Hinted {
    inner: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.chain().nth(1)
    }
}

/// Returns an error of `kind` that prints as `message`.
pub fn new(kind: Kind, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Kinded {
        kind,
        message: message.into(),
        by_client: false,
    })
}

/// Returns the error for an empty name of a `what`, which a client finds by itself.
pub fn empty_name(what: &str) -> anyhow::Error {
    anyhow::Error::new(Kinded {
        kind: Kind::Invalid,
        message: format!("invalid {what} name or ID: value is empty"),
        by_client: true,
    })
}

/// Returns whether a client finds by itself what is wrong, and asks no engine.
pub fn is_by_client(error: &anyhow::Error) -> bool {
    find::<Kinded>(error).is_some_and(|kinded| kinded.by_client)
}

/// Returns an error that says that something named does not exist.
pub fn not_found(message: impl Into<String>) -> anyhow::Error {
    new(Kind::NotFound, message)
}

/// Returns an error that says that the state of things forbids the operation.
pub fn conflict(message: impl Into<String>) -> anyhow::Error {
    new(Kind::Conflict, message)
}

/// Returns an error that says that the request is wrong.
pub fn invalid(message: impl Into<String>) -> anyhow::Error {
    new(Kind::Invalid, message)
}

/// Returns an error that says that this machine or kernel lacks something.
pub fn unavailable(message: impl Into<String>) -> anyhow::Error {
    new(Kind::Unavailable, message)
}

/// Returns the error for what only a node of a swarm has, in docker's words.
pub fn no_swarm() -> anyhow::Error {
    unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
         swarm and try again.",
    )
}

/// Returns `error` with a line added that names the flag, file or command that helps.
///
/// `hint` is one sentence without the word "hint" and without a full stop; fronts print it on its own line.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted {
        inner: error,
        hint: hint.into(),
    })
}

/// Returns the kind of the first error in the chain that has one.
pub fn kind(error: &anyhow::Error) -> Option<Kind> {
    error.chain().find_map(|cause| {
        if let Some(kinded) = cause.downcast_ref::<Kinded>() {
            return Some(kinded.kind);
        }
        cause
            .downcast_ref::<Hinted>()
            .and_then(|hinted| kind(&hinted.inner))
    })
}

/// Returns whether `error` is of `wanted`.
pub fn is(error: &anyhow::Error, wanted: Kind) -> bool {
    kind(error) == Some(wanted)
}

/// Returns the outermost hint of the chain.
pub fn hint(error: &anyhow::Error) -> Option<&str> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Hinted>())
        .map(|hinted| hinted.hint.as_str())
}

/// Returns the first error of a type in the chain, also below a hint.
pub fn find<T: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.chain().find_map(|cause| {
        let hinted = || find(&cause.downcast_ref::<Hinted>()?.inner);
        cause.downcast_ref::<T>().or_else(hinted)
    })
}

/// Returns the whole chain on one line, outermost first, without hints: `start web: mount overlay: no such device`.
///
/// Errors of the system are worded as docker and runc word them, which callers look for: small letters, no number.
pub fn line(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(text).collect();
    causes.join(": ")
}

/// Returns what a single error says, one of the system in those words.
pub fn text(cause: &(dyn std::error::Error + 'static)) -> String {
    let errno = if let Some(error) = cause.downcast_ref::<io::Error>() {
        error.raw_os_error()
    } else {
        let errno = cause.downcast_ref::<rustix::io::Errno>();
        errno.map(|errno| errno.raw_os_error())
    };
    errno.map_or_else(|| cause.to_string(), describe)
}

/// Returns what the system says of an error number, in Go's way: `permission denied`.
pub fn describe(errno: i32) -> String {
    let text = nix::errno::Errno::from_raw(errno).desc();
    let mut letters = text.chars();
    // "Invalid argument" becomes "invalid argument", but "RPC …" and "I/O error" stay.
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().collect::<String>() + &text[first.len_utf8()..]
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn kind_is_found_through_context_and_hints() {
        let plain = not_found("no such x");
        assert_eq!(kind(&plain), Some(Kind::NotFound));
        let wrapped = Err::<(), _>(plain).context("open x").unwrap_err();
        assert_eq!(kind(&wrapped), Some(Kind::NotFound));
        let hinted = with_hint(wrapped, "try y").context("outer");
        assert_eq!(kind(&hinted), Some(Kind::NotFound));
        assert_eq!(hint(&hinted), Some("try y"));
        assert_eq!(line(&hinted), "outer: open x: no such x");
        let low = with_hint(io::Error::from_raw_os_error(libc::ENOENT).into(), "try z");
        assert!(find::<io::Error>(&low.context("outer")).is_some());
        assert!(find::<io::Error>(&hinted).is_none());
        let system = anyhow::Error::new(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(
            line(&system.context("open x")),
            "open x: no such file or directory"
        );
    }

    #[test]
    fn numbers_of_the_system_have_words() {
        assert_eq!(describe(libc::ENOENT), "no such file or directory");
        assert_eq!(describe(libc::EPERM), "operation not permitted");
        assert_eq!(describe(libc::EIO), "I/O error");
    }

    #[test]
    fn other_errors_have_no_kind() {
        let error = anyhow::anyhow!("plain");
        assert_eq!(kind(&error), None);
        assert_eq!(hint(&error), None);
    }
}
