//! Mirrors: who is asked in which order, and what is told to whom.

use super::fake::{Answer, Fake, Image, Seen};
use crate::sandbox::Sandbox;

/// Keeps credentials for Docker Hub in the user's config.json.
fn know_the_hub(sandbox: &Sandbox) {
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let auths = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}}, "HttpHeaders": {"X-Team": "a"}}"#;
    std::fs::write(sandbox.home(".docker/config.json"), auths).unwrap();
}

fn no_secrets(seen: &[Seen]) {
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        assert_eq!(request.header("x-team"), None, "{request:?}");
    }
}

#[test]
fn mirrors_are_asked_in_their_order_and_know_nobody() {
    let sandbox = Sandbox::bare();
    know_the_hub(&sandbox);
    let image = Image::of(&[300_000, 1000]);
    let empty = Fake::start(&sandbox, |_| Answer::new(404));
    let broken = Fake::start(&sandbox, |_| {
        Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\"")
    });
    // It has the manifest, and is no help for the large layer.
    let (first, layer) = (image.clone(), image.layers[0].clone());
    let partial = Fake::start(&sandbox, move |request| {
        let mut answer = first.answer(request);
        if request.path.contains(&layer) {
            answer.cut = Some(if request.range().is_some() {
                0
            } else {
                100_000
            });
        }
        answer
    });
    let second = image.clone();
    let whole = Fake::start(&sandbox, move |request| second.answer(request));
    let urls = [
        "127.0.0.1:1",
        &empty.address,
        &broken.address,
        &partial.address,
        &whole.address,
    ]
    .map(|address| format!("\"http://{address}/\""))
    .join(", ");
    sandbox.configure(&format!("{{\"registry-mirrors\": [{urls}]}}"));
    let said = sandbox.ok(&["pull", "nginx"]);
    assert!(
        said.starts_with("Using default tag: latest\nlatest: Pulling from library/nginx\n"),
        "{said}"
    );
    assert!(
        said.ends_with(
            "Status: Downloaded newer image for nginx:latest\ndocker.io/library/nginx:latest"
        ),
        "{said}"
    );
    for fake in [&empty, &broken, &partial, &whole] {
        no_secrets(&fake.seen());
    }
    assert!(
        !empty
            .asked("HEAD", "/v2/library/nginx/manifests/latest")
            .is_empty()
    );
    // Where the one has ended the next goes on.
    let asked = whole.asked("GET", &image.layers[0]);
    assert_eq!(asked[0].range(), Some(100_000), "{asked:?}");
    assert!(whole.asked("GET", &image.config).is_empty());
    // Of other registries these are no mirrors.
    let before = whole.seen().len();
    sandbox.fails(1, &["pull", "127.0.0.1:1/nginx"]);
    assert_eq!(whole.seen().len(), before);
    // A name as the registry itself has it.
    sandbox.ok(&["rmi", "nginx"]);
    sandbox.ok(&["pull", "-q", "docker.io/library/nginx:latest"]);
    let ran = sandbox.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(ran, "nginx:latest");
}

#[test]
fn other_registries_have_mirrors_by_their_hosts_files() {
    let sandbox = Sandbox::bare();
    let image = Image::of(&[1000]);
    let (at_mirror, at_home) = (image.clone(), image.clone());
    let mirror = Fake::start(&sandbox, move |request| at_mirror.answer(request));
    let home = Fake::start(&sandbox, move |request| {
        if request.header("authorization") != Some("Basic bWU6c2VjcmV0") {
            return Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        at_home.answer(request)
    });
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let auths = format!(
        "{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6c2VjcmV0\"}}}}}}",
        home.address
    );
    std::fs::write(sandbox.home(".docker/config.json"), auths).unwrap();
    let folder = sandbox.etc("certs.d").join(&home.address);
    std::fs::create_dir_all(&folder).unwrap();
    let hosts = |capabilities: &str| {
        let text = format!(
            "server = \"http://{}\"\n[host.\"http://{}/cache\"]\n  capabilities = [{capabilities}]\n  [host.\"http://{1}/cache\".header]\n    x-key = \"k\"\n",
            home.address, mirror.address
        );
        std::fs::write(folder.join("hosts.toml"), text).unwrap();
    };
    let name = format!("{}/team/x", home.address);
    // What tags stand for is the registry's affair, and the rest the mirror's.
    hosts("\"pull\"");
    sandbox.ok(&["pull", "-q", &name]);
    let tags = |fake: &Fake| fake.asked("HEAD", "/manifests/latest").len();
    assert!(tags(&mirror) == 0 && tags(&home) > 0);
    assert!(home.asked("GET", "/blobs/").is_empty());
    let seen = mirror.seen();
    no_secrets(&seen);
    for request in &seen {
        assert!(request.path.starts_with("/cache/v2/team/x/"), "{request:?}");
        let ns = format!("ns={}", home.address.replace(':', "%3A"));
        assert!(request.path.ends_with(&ns), "{request:?}");
        assert_eq!(request.header("x-key"), Some("k"));
    }
    sandbox.ok(&["rmi", &name]);
    let before = home.seen().len();
    hosts("\"pull\", \"resolve\"");
    sandbox.ok(&["pull", "-q", &name]);
    assert_eq!(home.seen().len(), before, "the mirror has all of it");
    // A broken file is named, and nobody is asked.
    std::fs::write(folder.join("hosts.toml"), "server = http\n").unwrap();
    let said = sandbox.fails(1, &["pull", &name]);
    assert!(
        said.contains("hosts.toml") && said.contains("line 1, column 10"),
        "{said}"
    );
}

#[test]
fn a_broken_file_of_mirrors_is_told_with_its_place() {
    let sandbox = Sandbox::bare();
    // As tutorials have it: the comma between two keys is missing.
    sandbox.configure("{\n  \"registry-mirrors\": [\"https://mirror.gcr.io\"]\n  \"insecure-registries\": []\n}\n");
    for command in [
        &["pull", "nginx"][..],
        &["mirror", "test"],
        &["search", "nginx"],
        &["login", "-u", "me", "-p", "x"],
    ] {
        let said = sandbox.fails(1, command);
        assert!(said.contains("daemon.json: line 2, column 48"), "{said}");
        assert!(said.contains("a comma is missing"), "{said}");
    }
}
