//! Networks, each test on a machine of its own with a router that stands for the world outside.
//!
//! ```text
//! router  eth0 10.99.0.2, fd99::2 ── up0 10.99.0.1, fd99::1  machine  aril0 ── containers
//! ```

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sandbox::machine::Machine;
use crate::sandbox::{Sandbox, wait_until};

mod dns;
mod place;
mod ports;
mod reach;
mod robust;
mod scale;
mod site;
mod user;

/// Long enough for a busy machine, short enough for what must never answer.
const SOON: Duration = Duration::from_secs(10);
const NEVER: Duration = Duration::from_millis(400);

/// A machine and its router.
pub(crate) struct Lan {
    anchor: Child,
    router: Machine,
    pub(crate) sandbox: Sandbox,
}

impl Lan {
    pub(crate) fn new() -> Lan {
        let sandbox = Sandbox::new();
        let router = Machine::new();
        // Somebody must be in a namespace to be named as it.
        let anchor = router.inside(|| {
            Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        });
        sandbox.inside(|| {
            ip(&format!(
                "link add up0 type veth peer name eth0 netns {}",
                anchor.id()
            ));
            ip("address add 10.99.0.1/24 dev up0");
            ip("address add fd99::1/64 dev up0 nodad");
            ip("link set up0 up");
        });
        router.inside(|| {
            ip("address add 10.99.0.2/24 dev eth0");
            ip("address add fd99::2/64 dev eth0 nodad");
            ip("link set eth0 up");
        });
        sandbox.inside(|| {
            ip("route add default via 10.99.0.2");
            ip("-6 route add default via fd99::2");
        });
        Lan {
            anchor,
            router,
            sandbox,
        }
    }

    /// Runs a web server in a container that says who asks it: `who` is the address it sees.
    pub(crate) fn serve(&self, name: &str, options: &[&str]) {
        let script = "mkdir -p /w/cgi-bin; cd /w; printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR | tr -d [] | sed s/^::ffff://\\n' > cgi-bin/who; \
                      chmod 755 cgi-bin/who; exec httpd -f -p 80 -h /w";
        let mut args = vec!["run", "-d", "--name", name];
        args.extend(options);
        args.extend(["busybox", "sh", "-c", script]);
        self.sandbox.ok(&args);
        self.wait_for_server(name);
    }

    fn wait_for_server(&self, name: &str) {
        wait_until(&format!("{name} listens"), || {
            let listening = self.sandbox.aril(&["exec", name, "netstat", "-ltn"]);
            listening.out.contains(":80 ")
        });
    }

    /// Asks from the machine itself; nothing if there is no answer.
    pub(crate) fn ask(&self, server: &str) -> Option<String> {
        self.sandbox.inside(|| who(server, SOON))
    }

    /// Asks from outside.
    pub(crate) fn ask_from_outside(&self, server: &str) -> Option<String> {
        self.router.inside(|| who(server, SOON))
    }

    /// Whether nobody outside is answered.
    pub(crate) fn is_closed_outside(&self, server: &str) -> bool {
        self.router.inside(|| who(server, NEVER)).is_none()
    }

    /// Does something on the router.
    pub(crate) fn on_router<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.router.inside(act)
    }

    /// Asks from inside a container.
    pub(crate) fn ask_from(&self, container: &str, server: &str) -> String {
        let url = format!("http://{server}/cgi-bin/who");
        let ran = self
            .sandbox
            .aril(&["exec", container, "wget", "-qO-", &url]);
        ran.ok()
    }

    /// Returns the address of a container in the default network.
    pub(crate) fn address(&self, container: &str) -> String {
        self.sandbox
            .inspect(container, "{{.NetworkSettings.IPAddress}}")
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.anchor.kill().unwrap();
        self.anchor.wait().unwrap();
    }
}

/// Runs ip(8) where this thread is.
#[track_caller]
pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.unwrap().success(), "ip {arguments}");
}

/// Asks a server who it sees.
fn who(server: &str, patience: Duration) -> Option<String> {
    let address: SocketAddr = server.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    stream
        .write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .or_else(|| answer.split_once("\n\n"))?;
    Some(body.trim().to_owned())
}

/// Asks a server of datagrams that sends back what it gets.
pub(crate) fn echo(server: &str) -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(server).unwrap();
    let second = Some(Duration::from_secs(1));
    socket.set_read_timeout(second).unwrap();
    socket.send(b"hello").ok()?;
    let mut buffer = [0; 16];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A server of datagrams in the network of a container: it sends back what it gets, until this is dropped.
pub(crate) struct EchoServer {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    pub(crate) fn start(lan: &Lan, container: &str, port: u16) -> EchoServer {
        let pid = lan.sandbox.inspect(container, "{{.State.Pid}}");
        let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (ready, wait) = std::sync::mpsc::channel();
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            // The namespace ends with its container.
            drop(namespace);
            let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            let soon = Some(Duration::from_millis(20));
            socket.set_read_timeout(soon).unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 64];
            while !until.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(&buffer[..length], from).unwrap();
                }
            }
        });
        wait.recv().unwrap();
        EchoServer {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

#[test]
fn the_default_network_gives_an_address_and_a_way_out() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    let shown = sandbox.ok(&[
        "run", "--rm", "busybox", "sh", "-c",
        "ip -4 addr show eth0 | grep -o 'inet [0-9./]*'; ip route; cat /sys/class/net/eth0/address; \
         cat /proc/net/if_inet6 | grep -c eth0; ping -c1 -W5 10.99.0.2 >/dev/null && echo out",
    ]);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "inet 172.17.0.2/16",
            "default via 172.17.0.1 dev eth0",
            "172.17.0.0/16 dev eth0 scope link  src 172.17.0.2",
            "02:42:ac:11:00:02",
            "0",
            "out"
        ]
    );
    // The global switch is as it was, and the router cannot send anything through this machine to elsewhere.
    let forward = sandbox.shell("cat /proc/sys/net/ipv4/ip_forward");
    assert_eq!(forward, "0");
    // The lowest free address is given again.
    sandbox.ok(&["run", "-d", "--name", "aa", "busybox", "sleep", "1000"]);
    sandbox.ok(&["run", "-d", "--name", "bb", "busybox", "sleep", "1000"]);
    assert_eq!(
        (lan.address("aa").as_str(), lan.address("bb").as_str()),
        ("172.17.0.2", "172.17.0.3")
    );
    sandbox.ok(&["rm", "-f", "aa"]);
    sandbox.ok(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"]);
    assert_eq!(lan.address("cc"), "172.17.0.2");
    sandbox.ok(&["exec", "cc", "ping", "-c1", "-W5", "172.17.0.3"]);
}

#[test]
fn networks_of_the_host_of_others_and_none() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    lan.serve("aa", &["-p", "8080:80"]);
    sandbox
        .aril(&[
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "ls",
            "/sys/class/net",
        ])
        .says("lo");
    let own = sandbox.shell("ls /sys/class/net | sort | tr '\\n' ' '");
    let shared = sandbox.ok(&[
        "run",
        "--rm",
        "--network",
        "host",
        "busybox",
        "sh",
        "-c",
        "ls /sys/class/net | sort | tr '\\n' ' '",
    ]);
    assert_eq!(shared, own);
    sandbox
        .aril(&[
            "run",
            "--rm",
            "--network",
            "container:aa",
            "busybox",
            "wget",
            "-qO-",
            "http://127.0.0.1/cgi-bin/who",
        ])
        .says("127.0.0.1");
    sandbox
        .aril(&[
            "run",
            "--rm",
            "--network",
            "container:nosuch",
            "busybox",
            "true",
        ])
        .fails(
            125,
            "joining network namespace of container: No such container: nosuch",
        );
}

#[test]
fn hosts_and_links_tell_of_others() {
    let lan = Lan::new();
    let sandbox = &lan.sandbox;
    lan.serve("db", &["--expose", "80", "-e", "SECRET=s"]);
    let text = sandbox.ok(&[
        "run",
        "--rm",
        "--name",
        "web",
        "-h",
        "me",
        "--link",
        "db:data-base",
        "--add-host",
        "gate:host-gateway",
        "--add-host",
        "other:1.2.3.4",
        "busybox",
        "sh",
        "-c",
        "cat /etc/hosts; env | grep ^DATA_BASE | sort",
    ]);
    let id = sandbox.inspect("db", "{{.Config.Hostname}}");
    let address = lan.address("db");
    for line in [
        "172.17.0.1\tgate",
        "1.2.3.4\tother",
        &format!("{address}\tdata-base {id} db"),
        "172.17.0.3\tme",
        "DATA_BASE_ENV_SECRET=s",
        "DATA_BASE_NAME=/web/data-base",
        &format!("DATA_BASE_PORT=tcp://{address}:80"),
        &format!("DATA_BASE_PORT_80_TCP=tcp://{address}:80"),
        &format!("DATA_BASE_PORT_80_TCP_ADDR={address}"),
        "DATA_BASE_PORT_80_TCP_PORT=80",
        "DATA_BASE_PORT_80_TCP_PROTO=tcp",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} is not in\n{text}"
        );
    }
    // Who comes back under another address is still found.
    sandbox.ok(&[
        "run", "-d", "--name", "user", "--link", "db", "busybox", "sleep", "1000",
    ]);
    sandbox.ok(&["stop", "-t", "0", "db"]);
    sandbox.ok(&["run", "-d", "--name", "thief", "busybox", "sleep", "1000"]);
    sandbox.ok(&["start", "db"]);
    lan.wait_for_server("db");
    assert_ne!(lan.address("db"), address);
    assert_eq!(lan.ask_from("user", "db"), lan.address("user"));
    sandbox.ok(&["stop", "-t", "0", "db"]);
    sandbox
        .aril(&[
            "run", "--rm", "--name", "late", "--link", "db:x", "busybox", "true",
        ])
        .fails(
            125,
            "Cannot link to a non running container: /db AS /late/x",
        );
    sandbox
        .aril(&["run", "--rm", "--link", "nosuch:x", "busybox", "true"])
        .fails(
            125,
            "could not get container for nosuch: No such container: nosuch",
        );
}
