//! `aril registry serve`.

use crate::sandbox::{Ran, Running, Sandbox};

/// Nobody else is on this machine.
const ADDRESS: &str = "127.0.0.1:5000";

/// Starts to serve.
fn serve(sandbox: &Sandbox) -> Running {
    let mut server = sandbox.spawn(&["registry", "serve"]);
    server.expect("on http://127.0.0.1:5000/, read-only");
    server
}

/// Another store on the same machine, empty.
fn other(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let mut command = sandbox.aril_command(args);
    command.env("ARIL_ROOT", sandbox.path("other"));
    sandbox.run(command)
}

#[test]
fn another_machine_pulls_what_is_here() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "cc",
        "busybox",
        "sh",
        "-c",
        "echo changed > /file",
    ]);
    sandbox.ok(&["commit", "cc", "registry.example.com/team/app:2"]);
    let _server = serve(&sandbox);
    let pulled = other(&sandbox, &["pull", &format!("{ADDRESS}/busybox")]);
    assert!(pulled.ok().contains("Status: Downloaded newer image for"));
    // One layer of it is a directory here, which is packed while it is sent.
    let app = format!("{ADDRESS}/team/app:2");
    other(&sandbox, &["pull", &app]).ok();
    let id = |ran: Ran| ran.ok();
    let here = sandbox.ok(&[
        "image",
        "inspect",
        "-f",
        "{{.Id}}",
        "registry.example.com/team/app:2",
    ]);
    assert_eq!(
        id(other(
            &sandbox,
            &["image", "inspect", "-f", "{{.Id}}", &app]
        )),
        here
    );
    other(&sandbox, &["system", "check", "--deep"]).ok();
}

#[test]
fn the_protocol_is_spoken() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["tag", "busybox", "registry.example.com:5000/team/app:2"]);
    sandbox.ok(&["tag", "busybox", "team/app:1"]);
    let _server = serve(&sandbox);
    let get = |path: &str, headers: &str| -> String {
        let script = format!(
            "printf 'GET {path} HTTP/1.1\\r\\n{headers}Connection: close\\r\\n\\r\\n' | busybox nc {}",
            ADDRESS.replace(':', " ")
        );
        sandbox.shell(&script)
    };
    assert!(
        get("/v2/", "")
            .starts_with("HTTP/1.1 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\n")
    );
    assert!(
        get("/v2/_catalog", "").ends_with(r#"{"repositories":["library/busybox","team/app"]}"#)
    );
    let page = get("/v2/_catalog?n=1", "");
    assert!(
        page.contains("Link: </v2/_catalog?n=1&last=library/busybox>; rel=\"next\""),
        "{page}"
    );
    assert!(get("/v2/team/app/tags/list", "").ends_with(r#"{"tags":["1"],"name":"team/app"}"#));
    assert!(get("/v2/team/app/tags/list?ns=registry.example.com:5000", "").contains(r#"["2"]"#));
    assert!(get("/v2/nothing/tags/list", "").contains(r#""code":"NAME_UNKNOWN""#));
    assert!(get("/v2/busybox/manifests/9", "").contains(r#""code":"MANIFEST_UNKNOWN""#));
    let id = sandbox.inspect("busybox", "{{.Id}}");
    let blob = get(&format!("/v2/busybox/blobs/{id}"), "Range: bytes=0-0\\r\\n");
    assert!(
        blob.starts_with("HTTP/1.1 206 Partial Content\r\n") && blob.ends_with("\r\n\r\n{"),
        "{blob}"
    );
    let outside = get(
        &format!("/v2/busybox/blobs/{id}"),
        "Range: bytes=999999-\\r\\n",
    );
    assert!(outside.starts_with("HTTP/1.1 416 "), "{outside}");
}

#[test]
fn an_address_that_is_taken_is_said() {
    let sandbox = Sandbox::new();
    let _server = serve(&sandbox);
    let said = sandbox.fails(1, &["registry", "serve", ADDRESS]);
    assert!(
        said.contains(&format!("listen on {ADDRESS}"))
            && said.contains("hint: another program has this port"),
        "{said}"
    );
}
