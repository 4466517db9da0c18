//! Registries that are to be trusted, and that want to know who asks: certificates of both sides, and passwords.

use super::server::{Options, Server};
use super::{blobs, layers};
use crate::sandbox::Sandbox;

/// Copies certificates of a registry to where they are looked for.
fn trust(sandbox: &Sandbox, server: &Server, files: &[&str]) {
    let folder = sandbox.etc("certs.d").join(&server.address);
    std::fs::create_dir_all(&folder).unwrap();
    for file in files {
        std::fs::copy(server.dir.join(file), folder.join(file)).unwrap();
    }
}

/// Pushes an image, and pulls it when nothing of it is left here.
fn there_and_back(sandbox: &Sandbox, name: &str) {
    sandbox.ok(&["push", "-q", name]);
    sandbox.ok(&["rmi", "busybox", name]);
    assert!(layers(sandbox).is_empty() && blobs(sandbox).is_empty());
    let said = sandbox.ok(&["pull", name]);
    assert!(said.contains("Status: Downloaded newer image"), "{said}");
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let sandbox = Sandbox::new();
    let options = Options {
        tls: true,
        away: true,
        ..Options::default()
    };
    let server = Server::with(&sandbox, 5000, options);
    let name = format!("{}/box:1", server.address);
    sandbox.ok(&["tag", "busybox", &name]);
    for command in [["push", name.as_str()], ["pull", name.as_str()]] {
        let said = sandbox.fails(1, &command);
        let why = format!(
            "Get \"https://{}/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            server.address
        );
        assert!(said.contains(&why), "{said}");
        let hint = format!("certs.d/{}/ca.crt", server.address);
        assert!(said.contains("hint: ") && said.contains(&hint), "{said}");
    }
    // That of another registry is no reason to trust this one.
    let other = sandbox.etc("certs.d").join("192.0.2.1:5001");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::copy(server.dir.join("ca.crt"), other.join("ca.crt")).unwrap();
    sandbox.fails(1, &["pull", &name]);
    trust(&sandbox, &server, &["ca.crt"]);
    there_and_back(&sandbox, &name);
    // A file that holds none is named.
    let folder = sandbox.etc("certs.d").join(&server.address);
    std::fs::write(folder.join("ca.crt"), "nothing\n").unwrap();
    let said = sandbox.fails(1, &["pull", &name]);
    assert!(
        said.contains("ca.crt holds no certificate in PEM"),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    // Whoever lists it wants no certificate to be checked.
    sandbox.configure(&format!(
        "{{\"insecure-registries\": [\"{}\"]}}",
        server.address
    ));
    sandbox.ok(&["pull", &name]);
    sandbox.configure("{\"insecure-registries\": [\"192.0.2.0/24\"]}");
    sandbox.ok(&["pull", &name]);
}

#[test]
fn a_registry_without_tls_is_spoken_to_only_where_that_is_allowed() {
    let sandbox = Sandbox::new();
    let options = Options {
        away: true,
        ..Options::default()
    };
    let server = Server::with(&sandbox, 5000, options);
    let name = format!("{}/box:1", server.address);
    sandbox.ok(&["tag", "busybox", &name]);
    let said = sandbox.fails(1, &["push", &name]);
    let why = format!(
        "Get \"https://{}/v2/\": http: server gave HTTP response to HTTPS client",
        server.address
    );
    assert!(said.contains(&why), "{said}");
    let listed = format!("\"insecure-registries\": [\"{}\"]", server.address);
    assert!(said.contains(&listed), "{said}");
    // One command may be told by an option.
    let said = sandbox.fails(1, &["manifest", "inspect", &name]);
    assert!(said.contains("server gave HTTP response"), "{said}");
    let said = sandbox.fails(1, &["manifest", "inspect", "--insecure", &name]);
    assert!(
        said.contains(&format!("no such manifest: {name}")),
        "{said}"
    );
    sandbox.configure(&format!("{{{listed}}}"));
    there_and_back(&sandbox, &name);
    sandbox.configure("{}");
    let shown = sandbox.ok(&["manifest", "inspect", "--insecure", &name]);
    assert!(shown.contains("\"schemaVersion\": 2"), "{shown}");
}

#[test]
fn a_registry_that_asks_for_a_certificate_is_shown_one() {
    let sandbox = Sandbox::new();
    let options = Options {
        tls: true,
        identity: true,
        away: true,
        ..Options::default()
    };
    let server = Server::with(&sandbox, 5000, options);
    let name = format!("{}/box:1", server.address);
    sandbox.ok(&["tag", "busybox", &name]);
    trust(&sandbox, &server, &["ca.crt"]);
    // What it says against that may be lost when it ends the connection.
    sandbox.fails(1, &["push", &name]);
    trust(&sandbox, &server, &["client.cert"]);
    let said = sandbox.fails(1, &["push", &name]);
    let why = "missing key client.key for client certificate client.cert";
    assert!(said.contains(why), "{said}");
    let put = |from: &str, to: &str| {
        let folder = sandbox.etc("certs.d").join(&server.address);
        std::fs::copy(server.dir.join(from), folder.join(to)).unwrap();
    };
    put("server.key", "client.key");
    let said = sandbox.fails(1, &["push", &name]);
    assert!(said.contains("client.key is not the key of "), "{said}");
    put("client.key", "client.key");
    put("old.cert", "client.cert");
    let said = sandbox.fails(1, &["push", &name]);
    assert!(
        said.contains("client.cert is of version 1 of X.509"),
        "{said}"
    );
    put("client.cert", "client.cert");
    there_and_back(&sandbox, &name);
}

#[test]
fn a_password_opens_a_registry_until_it_is_forgotten() {
    let sandbox = Sandbox::new();
    let options = Options {
        password: true,
        ..Options::default()
    };
    let server = Server::with(&sandbox, 5000, options);
    let address = server.address.as_str();
    let name = format!("{address}/team/box:1");
    sandbox.ok(&["tag", "busybox", &name]);
    for command in [["push", name.as_str()], ["pull", name.as_str()]] {
        let said = sandbox.fails(1, &command);
        assert!(said.contains("no basic auth credentials"), "{said}");
        assert!(
            said.contains(&format!("hint: aril login {address}")),
            "{said}"
        );
    }
    let login = |password: &str| {
        let args = ["login", "-u", "user", "--password-stdin", address];
        sandbox.feed(&args, password.as_bytes())
    };
    let ran = login("wrong");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("401"), "{ran:?}");
    assert_eq!(login("secret").ok(), "Login Succeeded");
    there_and_back(&sandbox, &name);
    let known = server.asked(&["HEAD", "/manifests/1"]).len();
    sandbox.ok(&["pull", "-q", &name]);
    // One that is refused, and one that is not: nobody is told a password who does not ask.
    assert_eq!(server.asked(&["HEAD", "/manifests/1"]).len(), known + 2);
    sandbox.ok(&["logout", address]);
    let said = sandbox.fails(1, &["pull", &name]);
    assert!(said.contains("no basic auth credentials"), "{said}");
    // Without a login, from the environment.
    let mut pull = sandbox.aril_command(&["pull", "-q", &name]);
    let auths = format!("{{\"auths\": {{\"{address}\": {{\"auth\": \"dXNlcjpzZWNyZXQ=\"}}}}}}");
    pull.env("DOCKER_AUTH_CONFIG", auths);
    assert_eq!(sandbox.run(pull).ok(), name);
}
