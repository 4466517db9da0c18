//! Images that docker, podman and skopeo have from aril, and aril from them: many layers, several platforms, and by
//! `registry serve` without a registry between. See `exchange.rs` for each form of compression.

use super::fake::{Fake, Image};
use super::layers;
use super::server::Server;
use crate::interop::{commit, tree_of};
use crate::peers::{Docker, Podman};
use crate::sandbox::{Sandbox, image};
use crate::tree::{self, Tree};

/// How many layers an image with many has.
const MANY: u32 = 20;

/// A layer in the making.
struct Layer {
    archive: tar::Builder<Vec<u8>>,
    /// By which each entry has an owner, a mode and a time of its own.
    number: u32,
}

impl Layer {
    /// Adds a file, a link or a whiteout. A hard link has what the file has that came before it.
    fn add(&mut self, name: &str, kind: tar::EntryType, content: &str) {
        self.number += u32::from(kind != tar::EntryType::Link);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o640 | (self.number % 8));
        header.set_uid(u64::from(self.number * 7));
        header.set_gid(u64::from(self.number * 700));
        header.set_mtime(1_000_000_000 + u64::from(self.number));
        header.set_size(0);
        if content.is_empty() || kind == tar::EntryType::Regular {
            header.set_size(content.len() as u64);
            let bytes = content.as_bytes();
            self.archive.append_data(&mut header, name, bytes).unwrap();
        } else {
            self.archive
                .append_link(&mut header, name, content)
                .unwrap();
        }
    }
}

/// A layer that adds to, changes and deletes what those below it have made.
fn layer(number: u32) -> Vec<u8> {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let mut layer = Layer {
        archive: tar::Builder::new(Vec::new()),
        number: number * 100,
    };
    layer.add("many/", Directory, "");
    layer.add("many/changed", Regular, &number.to_string());
    let (own, below) = (format!("many/{number}"), format!("many/{}", number - 1));
    layer.add(&format!("{own}/"), Directory, "");
    layer.add(&format!("{own}/file"), Regular, &own);
    layer.add(&format!("{own}/hard"), Link, &format!("{own}/file"));
    layer.add(&format!("{own}/link"), Symlink, "../changed");
    match number % 4 {
        1 => layer.add(&format!("many/.wh.{}", number - 1), Regular, ""),
        2 => {
            layer.add(&format!("{below}/"), Directory, "");
            layer.add(&format!("{below}/.wh.file"), Regular, "");
        }
        3 => {
            layer.add(&format!("{below}/"), Directory, "");
            layer.add(&format!("{below}/.wh..wh..opq"), Regular, "");
            layer.add(&format!("{below}/new"), Regular, "new");
        }
        _ => {}
    }
    layer.archive.into_inner().unwrap()
}

/// An image of many layers above busybox.
fn many_layers(sandbox: &Sandbox) -> Image {
    sandbox.shell(&format!(
        "tar -C {} --sort=name -cf base.tar .",
        image::rootfs().display()
    ));
    let mut tars = vec![std::fs::read(sandbox.path("base.tar")).unwrap()];
    tars.extend((1..MANY).map(layer));
    Image::from_tars(&tars)
}

/// Docker and podman with stores of their own; skopeo has none.
struct Others<'a> {
    sandbox: &'a Sandbox,
    docker: Docker<'a>,
    podman: Podman<'a>,
}

impl<'a> Others<'a> {
    fn start(sandbox: &'a Sandbox) -> Others<'a> {
        Others {
            sandbox,
            docker: Docker::start(sandbox, &[]),
            podman: Podman::new(sandbox),
        }
    }

    /// Pulls with all three, and compares the trees.
    fn see(&self, name: &str, expected: &Tree) {
        self.docker.ok(&["pull", "-q", name]);
        self.docker.with_root(name, |root| {
            tree::assert_same("docker", &tree::read(root), expected);
        });
        self.podman.ok(&["pull", "-q", "--tls-verify=false", name]);
        self.podman.with_root(name, |root| {
            tree::assert_same("podman", &tree::read(root), expected);
        });
        self.sandbox.shell(&format!(
            "skopeo copy -q --src-tls-verify=false docker://{name} oci:layout:1\n\
             umoci unpack --image layout:1 unpacked"
        ));
        let root = self.sandbox.path("unpacked/rootfs");
        tree::assert_same("skopeo", &tree::read(&root), expected);
    }
}

#[test]
fn twenty_layers_are_the_same_everywhere() {
    let sandbox = Sandbox::bare();
    let image = many_layers(&sandbox);
    let fake = Fake::start(&sandbox, move |request| image.answer(request));
    let first = format!("{}/many", fake.address);
    sandbox.ok(&["pull", "-q", &first]);
    assert_eq!(layers(&sandbox).len(), MANY as usize);
    let expected = tree_of(&sandbox, &first);
    let server = Server::start(&sandbox);
    let at = |tag: &str| format!("{}/many:{tag}", server.address);
    sandbox.ok(&["tag", &first, &at("aril")]);
    sandbox.ok(&["push", "-q", &at("aril")]);
    sandbox.ok(&["rmi", &first, &at("aril")]);
    let others = Others::start(&sandbox);
    others.see(&at("aril"), &expected);
    // And what they make of it comes back.
    let Others { docker, podman, .. } = others;
    docker.ok(&["tag", &at("aril"), &at("docker")]);
    docker.ok(&["push", "-q", &at("docker")]);
    let (from, to) = (at("aril"), at("podman"));
    let zstd = ["--tls-verify=false", "--compression-format", "zstd"];
    podman.ok(&[&["push", "-q"][..], &zstd, &[&from, &to]].concat());
    drop((docker, podman));
    sandbox.shell(&format!(
        "skopeo copy -q --src-tls-verify=false --dest-tls-verify=false --format v2s2 docker://{} docker://{}",
        at("aril"),
        at("skopeo")
    ));
    for tag in ["docker", "podman", "skopeo"] {
        sandbox.ok(&["pull", "-q", &at(tag)]);
        tree::assert_same(tag, &tree_of(&sandbox, &at(tag)), &expected);
        sandbox.ok(&["rmi", &at(tag)]);
        assert!(layers(&sandbox).is_empty());
    }
}

#[test]
fn indexes_of_others_are_read() {
    let sandbox = Sandbox::bare();
    let server = Server::start(&sandbox);
    let at = |tag: &str| format!("{}/x:{tag}", server.address);
    for architecture in ["amd64", "arm64"] {
        let image = Image::for_platform(architecture, "");
        let fake = Fake::start(&sandbox, move |request| image.answer(request));
        let name = format!("{}/x", fake.address);
        sandbox.ok(&["pull", "-q", "--platform", architecture, &name]);
        sandbox.ok(&["tag", &name, &at(architecture)]);
        sandbox.ok(&["push", "-q", &at(architecture)]);
        sandbox.ok(&["rmi", &name, &at(architecture)]);
    }
    let (amd64, arm64) = (at("amd64"), at("arm64"));
    let docker = |verb: &str, more: &[&str]| {
        let mut command = sandbox.command("docker");
        command.args(["manifest", verb]).args(more);
        sandbox.run(command).ok();
    };
    docker("create", &["--insecure", &at("docker"), &amd64, &arm64]);
    docker("push", &["--insecure", "--purge", &at("docker")]);
    let podman = Podman::new(&sandbox);
    podman.ok(&["manifest", "create", "both"]);
    for one in [&amd64, &arm64] {
        let from = format!("docker://{one}");
        podman.ok(&["manifest", "add", "--tls-verify=false", "both", &from]);
    }
    let to = format!("docker://{}", at("podman"));
    podman.ok(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        "both",
        &to,
    ]);
    drop(podman);
    sandbox.shell(&format!(
        "skopeo copy -q --all --src-tls-verify=false --dest-tls-verify=false docker://{} docker://{}",
        at("podman"),
        at("skopeo")
    ));
    for tag in ["docker", "podman", "skopeo"] {
        for architecture in ["arm64", "amd64"] {
            sandbox.ok(&["pull", "-q", "--platform", architecture, &at(tag)]);
            let found = sandbox.inspect(&at(tag), "{{.Architecture}}");
            assert_eq!(found, architecture, "{tag}");
        }
        let shown = sandbox.ok(&["manifest", "inspect", "-v", &at(tag)]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown.as_array().unwrap().len(), 2, "{tag}");
    }
}

#[test]
fn others_pull_what_is_served() {
    let sandbox = Sandbox::bare();
    let expected = commit(&sandbox);
    sandbox.ok(&["tag", "made:1", "registry.example.com/team/made:1"]);
    let mut server = sandbox.spawn(&["registry", "serve"]);
    server.expect("on http://127.0.0.1:5000/, read-only");
    Others::start(&sandbox).see("127.0.0.1:5000/team/made:1", &expected);
    let tags =
        sandbox.shell("skopeo list-tags --tls-verify=false docker://127.0.0.1:5000/team/made");
    assert!(tags.contains("\"1\""), "{tags}");
    // Nothing can be changed there.
    let mut push = sandbox.command("skopeo");
    push.args(["copy", "-q", "--dest-tls-verify=false", "oci:layout:1"])
        .arg("docker://127.0.0.1:5000/team/other:1");
    assert_ne!(sandbox.run(push).code, 0);
}
