//! Where a test acts: in the network namespace of the machine, of its router, or of a container.
//!
//! Clients and servers are then sockets of the test itself, so it sees what the kernel says of each.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::Lan;
use crate::sandbox::PATIENCE;

/// Where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Host,
    Router,
    Container(&'a str),
}

impl Lan {
    /// Does something in a network namespace: in a thread of its own.
    pub(crate) fn at<T: Send>(&self, place: Place<'_>, act: impl FnOnce() -> T + Send) -> T {
        match place {
            Place::Host => self.sandbox.inside(act),
            Place::Router => self.on_router(act),
            Place::Container(name) => {
                let pid = self.sandbox.inspect(name, "{{.State.Pid}}");
                let netns = File::open(format!("/proc/{pid}/ns/net")).unwrap();
                self.sandbox.inside(|| {
                    setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                    act()
                })
            }
        }
    }

    /// Starts a container that sleeps.
    #[track_caller]
    pub(crate) fn sleeper(&self, name: &str, options: &[&str]) {
        let mut args = vec!["run", "-d", "--name", name];
        args.extend(options);
        args.extend(["busybox", "sleep", "1000"]);
        self.sandbox.ok(&args);
    }

    /// Returns the address of a container in a network.
    #[track_caller]
    pub(crate) fn address_in(&self, name: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
        self.sandbox.inspect(name, &format)
    }

    /// Returns whom an [`Echo`] sees that is asked at `address` from `place`.
    #[track_caller]
    pub(crate) fn peer(&self, place: Place<'_>, address: &str) -> String {
        println!("  ask {address} from {place:?}");
        let to: SocketAddr = address.parse().unwrap();
        self.at(place, move || peer(to)).unwrap()
    }

    /// The same by datagrams; an answer that comes from another address than that which was asked does not count.
    #[track_caller]
    pub(crate) fn udp_peer(&self, place: Place<'_>, address: &str) -> String {
        println!("  ask {address} by datagram from {place:?}");
        let to: SocketAddr = address.parse().unwrap();
        self.at(place, move || {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(to).unwrap();
            let pause = Duration::from_millis(500);
            socket.set_read_timeout(Some(pause)).unwrap();
            let mut buffer = [0; 100];
            // Datagrams may be lost.
            for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
                if socket.send(b"who").is_ok()
                    && let Ok(bytes) = socket.recv(&mut buffer)
                {
                    return String::from_utf8_lossy(&buffer[..bytes]).into_owned();
                }
            }
            panic!("{to} does not answer");
        })
    }
}

fn peer(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (peer, rest) = text.split_once('\n').unwrap_or_default();
    assert_eq!(rest, "hello", "an echo comes back");
    Ok(peer.to_owned())
}

/// A server that tells clients their address, and then what they say; until it is dropped.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    listener: TcpListener,
}

impl Echo {
    /// Serves TCP and UDP on `port` of all addresses.
    #[track_caller]
    pub(crate) fn new(lan: &Lan, place: Place<'_>, port: u16) -> Echo {
        let (listener, datagrams) = lan.at(place, move || {
            (
                TcpListener::bind(("0.0.0.0", port)).unwrap(),
                UdpSocket::bind(("0.0.0.0", port)).unwrap(),
            )
        });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let accepting = listener.try_clone().unwrap();
        let streams = std::thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                std::thread::spawn(move || echo(stream, peer));
            }
        });
        let pause = Duration::from_millis(20);
        datagrams.set_read_timeout(Some(pause)).unwrap();
        let datagrams = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut buffer = [0; 100];
                if let Ok((_, peer)) = datagrams.recv_from(&mut buffer) {
                    let text = peer.ip().to_string();
                    datagrams.send_to(text.as_bytes(), peer).unwrap();
                }
            }
        });
        Echo {
            stop,
            threads: vec![streams, datagrams],
            listener,
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let woken = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if !std::thread::panicking() {
            woken.unwrap();
            ended.into_iter().for_each(Result::unwrap);
        }
    }
}

/// Clients may break off at any time.
fn echo(mut stream: TcpStream, peer: SocketAddr) {
    let told = writeln!(stream, "{}", peer.ip());
    let mut reader = stream.try_clone().unwrap();
    if told.is_ok() && std::io::copy(&mut reader, &mut stream).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
}
