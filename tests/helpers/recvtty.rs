//! Takes the terminals of containers from a console socket and reads them empty: runc's helper of that name, for its tests.
//!
//! ```text
//! recvtty [--pid-file FILE] [--mode null] [--no-stdin] SOCKET
//! ```
//!
//! Runs until it is killed; with the terminals go the containers that have them.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut socket = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--pid-file" => {
                let file = args.next().context("--pid-file needs a file")?;
                std::fs::write(&file, format!("{}\n", std::process::id()))
                    .with_context(|| format!("write {file}"))?;
            }
            "--mode" | "-m" => match args.next().as_deref() {
                Some("null") => {}
                other => bail!("mode {other:?}: only null is known"),
            },
            "--no-stdin" => {}
            option if option.starts_with('-') => bail!("unknown option {option}"),
            path => socket = Some(PathBuf::from(path)),
        }
    }
    let socket = socket.context("usage: recvtty [--pid-file FILE] [--mode null] SOCKET")?;
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("listen at {}", socket.display()))?;
    loop {
        let (stream, _) = listener.accept().context("accept a connection")?;
        std::thread::spawn(move || {
            // A terminal whose container has ended is an error to read, and of no interest any more.
            if let Err(error) = drain(&stream) {
                drop(error);
            }
        });
    }
}

/// Receives a terminal, and reads it until its end.
fn drain(stream: &UnixStream) -> Result<()> {
    let received = aril::sys::fdpass::receive(stream.as_fd(), 4096)?;
    let (_, descriptors) = received.context("nothing came")?;
    let terminal = descriptors
        .into_iter()
        .next()
        .context("no descriptor came")?;
    let mut terminal = std::fs::File::from(terminal);
    let mut buffer = [0; 4096];
    while terminal.read(&mut buffer)? > 0 {}
    Ok(())
}
