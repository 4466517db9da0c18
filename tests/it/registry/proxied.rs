//! Registries that are reached by a proxy, which alone knows their names.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::server::{Options, Server};
use crate::sandbox::Sandbox;

/// A proxy that leads every `CONNECT` to one address; it ends when this is dropped.
struct Proxy {
    /// `127.0.0.1:PORT`
    address: String,
    /// Heads of what was asked.
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn start(sandbox: &Sandbox, target: &'static str) -> Proxy {
        let listener = sandbox.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        // Connections are made from where this socket was made.
        let (asked, over) = (Arc::default(), Arc::<AtomicBool>::default());
        let proxy = Proxy {
            address: listener.local_addr().unwrap().to_string(),
            asked: Arc::clone(&asked),
            over: Arc::clone(&over),
        };
        listener.set_nonblocking(true).unwrap();
        sandbox.inside(move || {
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok((stream, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    let asked = Arc::clone(&asked);
                    std::thread::spawn(move || {
                        stream.set_nonblocking(false).unwrap();
                        if let Err(error) = lead(stream, target, &asked) {
                            println!("  proxy: {error}");
                        }
                    });
                }
            });
        });
        proxy
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn lead(mut stream: TcpStream, target: &str, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    asked.lock().unwrap().push(head);
    let mut there = TcpStream::connect(target)?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back, mut here) = (there.try_clone()?, stream);
    std::thread::spawn(move || {
        // Either side may be the first to leave.
        std::io::copy(&mut back, &mut here).ok();
        here.shutdown(std::net::Shutdown::Both).ok();
    });
    let mut bytes = [0; 8192];
    loop {
        match reader.read(&mut bytes)? {
            0 => return there.shutdown(std::net::Shutdown::Both),
            count => there.write_all(&bytes[..count])?,
        }
    }
}

#[test]
fn proxies_of_the_environment_and_of_the_file_are_used() {
    let sandbox = Sandbox::new();
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let server = Server::with(&sandbox, 5000, options);
    let proxy = Proxy::start(&sandbox, "127.0.0.1:5000");
    // Nobody here knows where that is.
    let registry = "registry.example:443";
    let name = format!("{registry}/box:1");
    let folder = sandbox.etc("certs.d").join(registry);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(server.dir.join("ca.crt"), folder.join("ca.crt")).unwrap();
    sandbox.ok(&["tag", "busybox", &name]);
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.aril_command(args);
        command.envs(variables.iter().copied());
        sandbox.run(command)
    };
    run(&["push", "-q", &name], &[]).fails(1, "dial tcp: lookup registry.example: ");
    let with_password = format!("http://me:secret@{}", proxy.address);
    let plain = format!("http://{}", proxy.address);
    run(&["push", "-q", &name], &[("HTTPS_PROXY", &with_password)]).ok();
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in &asked {
        assert!(
            head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"),
            "{head}"
        );
        let lower = head.to_lowercase();
        assert!(
            lower.contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"),
            "{head}"
        );
    }
    sandbox.ok(&["rmi", "busybox", &name]);
    // Where it is not to be used it is not.
    for except in ["registry.example", "*", "x, .example"] {
        let variables = [("https_proxy", plain.as_str()), ("no_proxy", except)];
        run(&["pull", "-q", &name], &variables).fails(1, "dial tcp: lookup registry.example: ");
    }
    assert_eq!(proxy.asked().len(), asked.len());
    // What speaks plainly goes elsewhere.
    run(&["pull", "-q", &name], &[("HTTP_PROXY", &plain)])
        .fails(1, "dial tcp: lookup registry.example: ");
    sandbox.configure(&format!(
        "{{\"proxies\": {{\"https-proxy\": \"{plain}\"}}}}"
    ));
    run(&["pull", "-q", &name], &[]).ok();
    assert!(proxy.asked().len() > asked.len());
    // One that is not there is named.
    let ran = run(
        &["pull", "-q", &name],
        &[("HTTPS_PROXY", "http://127.0.0.1:1")],
    );
    ran.fails(
        1,
        "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused",
    );
}
