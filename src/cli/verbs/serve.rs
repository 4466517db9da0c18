//! `registry serve`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use anyhow::{Context as _, Result};

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::registry::ServeArgs;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::engine::serve;
use crate::error;
use crate::registry::server::http;

/// The port that registries have where nothing is said.
const DEFAULT_PORT: u16 = 5000;

/// `registry serve`; ends by a signal.
pub fn run(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ServeArgs = command::arguments(matches)?;
    let addresses = addresses(arguments.address.as_deref().unwrap_or_default())?;
    let engine = engine(context)?;
    let listener = TcpListener::bind(&addresses[..]).map_err(|error| {
        let shown = addresses
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let error = anyhow::Error::from(error).context(format!("listen on {shown}"));
        if taken {
            return error::with_hint(
                error,
                "another program has this port: name another one, such as 127.0.0.1:5001",
            );
        }
        error
    })?;
    let address = listener.local_addr().context("look at the listener")?;
    let count = engine
        .images
        .list()?
        .iter()
        .filter(|image| !image.references.is_empty())
        .count();
    let text = match count {
        1 => "Serving 1 image".to_owned(),
        count => format!("Serving {count} images"),
    };
    output::out(&format!("{text} on http://{address}/, read-only\n"))?;
    if !address.ip().is_loopback() {
        output::err("WARNING: whoever reaches this address can read all images\n");
    }
    let log = |request: &str, status: u16| {
        if context.globals.debug {
            output::err(&format!("{status} {request}\n"));
        }
    };
    http::serve(
        &listener,
        &|question| serve::answer(&engine, question),
        &log,
    )?;
    Ok(0)
}

/// Reads `HOST:PORT`, `HOST`, `:PORT` (all addresses) or `PORT`; what is missing is loopback and 5000.
fn addresses(text: &str) -> Result<Vec<SocketAddr>> {
    let wrong = || {
        error::invalid(format!(
            "invalid address {text:?}: expected HOST:PORT, such as 127.0.0.1:5000"
        ))
    };
    if text.is_empty() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()]);
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![(address, DEFAULT_PORT).into()]);
    }
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse::<u16>().map_err(|_| wrong())?;
        return Ok(vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ]);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
        None => (text, DEFAULT_PORT),
    };
    if host.is_empty() || host.contains(['/', ' ', ':']) {
        return Err(wrong());
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("look up {host}"))?
        .collect();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_defaults() {
        let check = |text: &str, want: &str| {
            let got = addresses(text)
                .map(|list| list.first().map(ToString::to_string).unwrap_or_default());
            assert_eq!(
                got.unwrap_or_else(|error| error.to_string()),
                want,
                "{text}"
            );
        };
        check("", "127.0.0.1:5000");
        check("5001", "127.0.0.1:5001");
        check(":5001", "[::]:5001");
        check("0.0.0.0:80", "0.0.0.0:80");
        check("192.0.2.1", "192.0.2.1:5000");
        check("[::1]:0", "[::1]:0");
        check("::1", "[::1]:5000");
        check(
            "localhost:x",
            "invalid address \"localhost:x\": expected HOST:PORT, such as 127.0.0.1:5000",
        );
        check(
            "http://a:1",
            "invalid address \"http://a:1\": expected HOST:PORT, such as 127.0.0.1:5000",
        );
    }
}
