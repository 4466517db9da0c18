//! Images to a registry and back, by aril and by others.

use super::server::Server;
use super::{blobs, layers, parts};
use crate::interop::{commit, tree_of};
use crate::peers::{Docker, Podman};
use crate::sandbox::Sandbox;
use crate::tree;

#[test]
fn what_is_pushed_can_be_pulled() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let name = format!("{}/team/box", server.address);
    let version = format!("{name}:1");
    sandbox.ok(&["tag", "busybox", &version]);
    let id = sandbox.inspect(&version, "{{.Id}}");
    let said = sandbox.ok(&["push", &version]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{name}]"));
    assert!(
        lines[1].ends_with(": Preparing") && lines[2].ends_with(": Pushed"),
        "{said}"
    );
    assert!(
        lines[3].starts_with("1: digest: sha256:") && lines[3].contains(" size: "),
        "{said}"
    );
    let digest = lines[3].split(' ').nth(2).unwrap();
    let digests = sandbox.inspect(&version, "{{json .RepoDigests}}");
    assert_eq!(digests, format!("[\"{name}@{digest}\"]"));

    // Once more: nothing is sent.
    let sent = server.asked(&["PUT /v2/", "blobs"]).len();
    let said = sandbox.ok(&["push", &version]);
    assert!(
        said.contains(": Layer already exists") && said.contains(digest),
        "{said}"
    );
    assert_eq!(server.asked(&["PUT /v2/", "blobs"]).len(), sent);

    sandbox.ok(&["rmi", "busybox", &version]);
    assert!(layers(&sandbox).is_empty() && blobs(&sandbox).is_empty());
    let said = sandbox.ok(&["pull", &version]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "1: Pulling from team/box");
    for (line, end) in lines[1..5].iter().zip([
        ": Pulling fs layer",
        ": Verifying Checksum",
        ": Download complete",
        ": Pull complete",
    ]) {
        assert!(
            line.ends_with(end) && line.len() == 12 + end.len(),
            "{line}"
        );
    }
    assert_eq!(lines[5], format!("Digest: {digest}"));
    assert_eq!(
        lines[6],
        format!("Status: Downloaded newer image for {version}")
    );
    assert_eq!(lines[7], version);
    assert_eq!(sandbox.inspect(&version, "{{.Id}}"), id);
    assert!(parts(&sandbox).is_empty());

    // Up to date, which takes one question.
    let asked = server.asked(&["/v2/"]).len();
    let said = sandbox.ok(&["pull", &version]);
    assert_eq!(
        said,
        format!(
            "1: Pulling from team/box\nDigest: {digest}\nStatus: Image is up to date for {version}\n{version}"
        )
    );
    assert_eq!(server.asked(&["/v2/"]).len(), asked + 1);
    assert_eq!(sandbox.ok(&["pull", "-q", &version]), version);
    let digested = format!("{name}@{digest}");
    let said = sandbox.ok(&["pull", &digested]);
    assert!(
        said.starts_with(&format!("{digested}: Pulling from team/box\n")),
        "{said}"
    );
}

#[test]
fn manifests_are_shown_without_a_pull() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let name = format!("{}/box:1", server.address);
    sandbox.ok(&["tag", "busybox", &name]);
    let said = sandbox.ok(&["push", &name]);
    let digest = said
        .lines()
        .last()
        .unwrap()
        .split(' ')
        .nth(2)
        .unwrap()
        .to_owned();
    let shown = sandbox.ok(&["manifest", "inspect", &name]);
    assert!(
        shown.starts_with("{\n\t\"schemaVersion\": 2,\n\t\"mediaType\": "),
        "{shown}"
    );
    let shown = sandbox.ok(&["manifest", "inspect", "-v", &name]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["Ref"], format!("{name}@{digest}"));
    assert_eq!(shown["Descriptor"]["digest"], digest);
    assert_eq!(shown["Descriptor"]["platform"]["os"], "linux");
    assert_eq!(shown["OCIManifest"]["schemaVersion"], 2);
    let missing = format!("{}/box:2", server.address);
    let said = sandbox.fails(1, &["manifest", "inspect", &missing]);
    assert!(
        said.contains(&format!("no such manifest: {missing}")),
        "{said}"
    );
}

#[test]
fn run_pulls_what_is_missing() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let name = format!("{}/box", server.address);
    sandbox.ok(&["tag", "busybox", &name]);
    sandbox.ok(&["push", "-q", &name]);
    sandbox.ok(&["rmi", "busybox", &name]);
    let run = |options: &[&str]| {
        let mut args = vec!["run", "--rm", "--network", "none"];
        args.extend(options);
        args.extend([name.as_str(), "echo", "hi"]);
        sandbox.aril(&args)
    };
    let ran = run(&["--pull", "never"]);
    assert_eq!(ran.code, 125);
    assert!(
        ran.err.contains(&format!("No such image: {name}:latest")),
        "{ran:?}"
    );
    let ran = run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "hi\n"));
    let first = format!("Unable to find image '{name}:latest' locally\nlatest: Pulling from box\n");
    assert!(ran.err.starts_with(&first), "{ran:?}");
    assert!(
        ran.err.contains(&format!(
            "Status: Downloaded newer image for {name}:latest\n"
        )),
        "{ran:?}"
    );
    let ran = run(&[]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hi\n", ""));
    let ran = run(&["--pull", "always"]);
    assert!(ran.err.contains("Image is up to date"), "{ran:?}");
    let ran = run(&["--pull", "always", "-q"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hi\n", ""));
    sandbox.ok(&["rmi", &name]);
    let id = sandbox.ok(&["create", "--network", "none", &name, "true"]);
    assert_eq!(id.len(), 64);
    sandbox.ok(&["rm", &id]);
    let said = sandbox.fails(125, &["run", &format!("{name}:missing"), "true"]);
    assert!(
        said.contains(&format!(
            "manifest for {name}:missing not found: manifest unknown"
        )),
        "{said}"
    );
}

#[test]
fn layers_are_shared_and_mounted() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let at = |name: &str| format!("{}/{name}", server.address);
    sandbox.ok(&[
        "run",
        "--name",
        "changed",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo new >/new",
    ]);
    sandbox.ok(&["commit", "changed", &at("two:1")]);
    sandbox.ok(&["rm", "changed"]);
    sandbox.ok(&["tag", "busybox", &at("one:1")]);
    sandbox.ok(&["push", "-q", &at("one:1")]);
    // The lower layer is in a repository beside, and nothing of it is sent again.
    let said = sandbox.ok(&["push", &at("two:1")]);
    assert!(
        said.contains(": Mounted from one") && said.contains(": Pushed"),
        "{said}"
    );
    let digest = said.lines().last().unwrap().to_owned();
    // The same image is the same each time: after all that was made for it is gone, and from another name.
    sandbox.ok(&["tag", &at("two:1"), &at("three:1")]);
    let said = sandbox.ok(&["push", &at("three:1")]);
    assert_eq!(said.lines().last().unwrap(), digest);
    assert_eq!(said.matches(": Mounted from ").count(), 2, "{said}");
    sandbox.ok(&["rmi", &at("two:1"), &at("three:1")]);

    let said = sandbox.ok(&["pull", &at("two:1")]);
    assert_eq!(said.matches(": Already exists").count(), 1, "{said}");
    assert_eq!(said.matches(": Pull complete").count(), 1, "{said}");
    // What was pulled goes elsewhere as it came.
    sandbox.ok(&["tag", &at("two:1"), &at("four/x:y")]);
    let said = sandbox.ok(&["push", &at("four/x:y")]);
    let known = digest.split(' ').nth(2).unwrap();
    assert!(
        said.lines()
            .last()
            .unwrap()
            .starts_with(&format!("y: digest: {known} ")),
        "{said}"
    );
}

#[test]
fn all_tags_of_a_repository_go_at_once() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    let at = |name: &str| format!("{}/{name}", server.address);
    sandbox.ok(&["tag", "busybox", &at("two:1")]);
    sandbox.ok(&["tag", "busybox", &at("two:2")]);
    let said = sandbox.ok(&["push", "-a", &at("two")]);
    assert!(
        said.contains("\n1: digest: ") && said.contains("\n2: digest: "),
        "{said}"
    );
    sandbox.ok(&["rmi", &at("two:1"), &at("two:2")]);
    let said = sandbox.ok(&["pull", "-a", &at("two")]);
    assert!(
        said.contains("1: Pulling from two\n") && said.contains("2: Pulling from two\n"),
        "{said}"
    );
    assert!(
        said.ends_with(&format!(
            "Status: Downloaded newer image for {0}\n{0}",
            at("two")
        )),
        "{said}"
    );
    assert_eq!(sandbox.ok(&["images", "-q", &at("two")]).lines().count(), 2);
    let why = "tag can't be used with --all-tags/-a";
    assert!(
        sandbox
            .fails(1, &["pull", "-a", &at("two:1")])
            .contains(why)
    );
    assert!(
        sandbox
            .fails(1, &["push", "-a", &at("two:1")])
            .contains(why)
    );

    let said = sandbox.fails(1, &["push", &at("nothing")]);
    assert!(
        said.contains(&format!(
            "An image does not exist locally with the tag: {}",
            at("nothing")
        )),
        "{said}"
    );
    let said = sandbox.fails(1, &["push", &at("two:9")]);
    assert!(
        said.contains(&format!("tag does not exist: {}", at("two:9"))),
        "{said}"
    );
}

#[test]
fn others_pull_what_aril_pushes() {
    let sandbox = Sandbox::bare();
    let server = Server::start(&sandbox);
    let expected = commit(&sandbox);
    let at = |tag: &str| format!("{}/made:{tag}", server.address);
    for format in ["gzip", "zstd"] {
        sandbox.ok(&["tag", "made:1", &at(format)]);
        sandbox.ok(&["push", "--compression-format", format, &at(format)]);
    }
    // Debian's docker is older than its support for zstd.
    let docker = Docker::start(&sandbox, &[]);
    docker.ok(&["pull", "-q", &at("gzip")]);
    docker.with_root(&at("gzip"), |root| {
        tree::assert_same("docker", &tree::read(root), &expected);
    });
    drop(docker);
    let podman = Podman::new(&sandbox);
    for format in ["gzip", "zstd"] {
        podman.ok(&["pull", "-q", "--tls-verify=false", &at(format)]);
        podman.with_root(&at(format), |root| {
            tree::assert_same("podman", &tree::read(root), &expected);
        });
        podman.ok(&["rmi", &at(format)]);
    }
    drop(podman);
    let name = at("gzip");
    sandbox.shell(&format!(
        "skopeo copy -q --src-tls-verify=false docker://{name} oci:layout:1\n\
         umoci unpack --image layout:1 unpacked"
    ));
    let root = sandbox.path("unpacked/rootfs");
    tree::assert_same("skopeo", &tree::read(&root), &expected);
}

#[test]
fn aril_pulls_what_others_push() {
    let sandbox = Sandbox::bare();
    let server = Server::start(&sandbox);
    let expected = commit(&sandbox);
    sandbox.ok(&["save", "-o", "made.tar", "made:1"]);
    sandbox.ok(&["rmi", "made:1", "base"]);
    let at = |tag: &str| format!("{}/made:{tag}", server.address);
    let docker = Docker::start(&sandbox, &[]);
    docker.ok(&["load", "-i", "made.tar"]);
    docker.ok(&["tag", "made:1", &at("docker")]);
    docker.ok(&["push", "-q", &at("docker")]);
    drop(docker);
    let podman = Podman::new(&sandbox);
    podman.ok(&["load", "-i", "made.tar"]);
    podman.ok(&["push", "-q", "--tls-verify=false", "made:1", &at("podman")]);
    podman.ok(&[
        "push",
        "-q",
        "--tls-verify=false",
        "--compression-format",
        "zstd",
        "made:1",
        &at("podman-zstd"),
    ]);
    drop(podman);
    sandbox.shell(&format!(
        "skopeo copy -q --dest-tls-verify=false docker-archive:made.tar docker://{}",
        at("skopeo")
    ));
    for tag in ["docker", "podman", "podman-zstd", "skopeo"] {
        sandbox.ok(&["pull", "-q", &at(tag)]);
        tree::assert_same(tag, &tree_of(&sandbox, &at(tag)), &expected);
        sandbox.ok(&["rmi", &at(tag)]);
        assert!(layers(&sandbox).is_empty());
    }
}
