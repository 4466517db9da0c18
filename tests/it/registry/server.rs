//! Debian's `docker-registry`, on the loopback device of a sandbox.

use std::path::PathBuf;

use crate::sandbox::{Running, Sandbox, wait_until};

/// A registry that runs until this is dropped; its log says who asked for what.
pub(crate) struct Server {
    _process: Running,
    /// `localhost:PORT`, or `192.0.2.1:PORT` where it is on another machine.
    pub(crate) address: String,
    /// Its certificates, and its storage.
    pub(crate) dir: PathBuf,
    log: PathBuf,
}

/// How it is spoken to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// By TLS, with a certificate of an authority in `ca.crt`.
    pub(crate) tls: bool,
    /// Only by those who show a certificate of that authority, as `client.cert` with `client.key` is.
    pub(crate) identity: bool,
    /// By another address than the machine's own, which is trusted whatever it shows.
    pub(crate) away: bool,
    /// By `user` with the password `secret`.
    pub(crate) password: bool,
}

impl Server {
    /// Starts one with an empty storage.
    pub(crate) fn start(sandbox: &Sandbox) -> Server {
        Server::with(sandbox, 5000, Options::default())
    }

    /// Starts one on a port.
    pub(crate) fn with(sandbox: &Sandbox, port: u16, options: Options) -> Server {
        let dir = sandbox.path(&format!("registry-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.display();
        let mut auth = String::new();
        if options.password {
            // bcrypt of `secret`
            let line = "user:$2b$04$7I1gsxNFnyxe/qTzIl7jMOU/XyZbZbB2nNjiC7mcf9BVVZM3AGLhy\n";
            std::fs::write(dir.join("htpasswd"), line).unwrap();
            auth = format!("auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n");
        }
        let mut tls = String::new();
        if options.tls {
            certificates(sandbox, &dir);
            let asks = if options.identity {
                format!(", clientcas: [{path}/ca.crt]")
            } else {
                String::new()
            };
            tls = format!(
                "  tls: {{certificate: {path}/server.crt, key: {path}/server.key{asks}}}\n"
            );
        }
        let mut host = "127.0.0.1";
        if options.away {
            host = "192.0.2.1";
            sandbox.shell("ip address replace 192.0.2.1/32 dev lo");
        }
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {path}/storage}}, delete: {{enabled: true}}}}\n\
             {auth}http:\n  addr: {host}:{port}\n{tls}"
        );
        std::fs::write(dir.join("config.yml"), config).unwrap();
        let log = dir.join("log");
        let mut command = sandbox.command("sh");
        command.arg("-euc").arg(format!(
            "exec docker-registry serve {0}/config.yml >{0}/log 2>&1",
            dir.display()
        ));
        let mut process = sandbox.start(command);
        wait_until("docker-registry listens", || {
            assert!(
                !process.has_ended(),
                "these tests need docker-registry (apt-get install docker-registry): {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            sandbox.inside(|| std::net::TcpStream::connect((host, port)).is_ok())
        });
        Server {
            _process: process,
            address: if options.away {
                format!("{host}:{port}")
            } else {
                format!("localhost:{port}")
            },
            dir,
            log,
        }
    }

    /// Returns the requests until now whose line has all of `parts`, as `GET /v2/…`.
    pub(crate) fn asked(&self, parts: &[&str]) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let requests = log.lines().filter_map(|line| line.split('"').nth(1));
        requests
            .filter(|request| parts.iter().all(|part| request.contains(part)))
            .map(str::to_owned)
            .collect()
    }
}

/// Makes an authority, a certificate of it for `localhost`, and one for a client, which `old.cert` is, too, in
/// the oldest form.
fn certificates(sandbox: &Sandbox, dir: &std::path::Path) {
    sandbox.shell(&format!(
        "cd {}\n\
         openssl ecparam -name prime256v1 -genkey -noout -out ca.key\n\
         openssl req -x509 -new -key ca.key -days 30 -subj /CN=authority -out ca.crt\n\
         openssl ecparam -name prime256v1 -genkey -noout -out server.key\n\
         openssl req -new -key server.key -subj /CN=localhost -out server.csr\n\
         printf 'subjectAltName=DNS:localhost,DNS:registry.example,IP:127.0.0.1,IP:192.0.2.1\\n' >names\n\
         openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.crt\n\
         openssl ecparam -name prime256v1 -genkey -noout -out client.key\n\
         openssl req -new -key client.key -subj /CN=client -out client.csr\n\
         openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out old.cert\n\
         openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out client.cert\n",
        dir.display()
    ));
}
