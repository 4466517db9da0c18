//! Indexes of several platforms, and layers that are to be had elsewhere.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fake::{self, Answer, Fake, INDEX, Image, MANIFEST, Seen};
use super::{blobs, layers};
use crate::sandbox::Sandbox;

/// A registry that has an index of images under every tag.
struct Many {
    images: Vec<Image>,
    index: Vec<u8>,
}

impl Many {
    /// Makes one of `architecture` or `architecture/variant`, with an attestation for each as builders push them.
    fn of(platforms: &[&str]) -> Many {
        let mut images = Vec::new();
        let mut entries: Vec<Value> = Vec::new();
        for platform in platforms {
            let (architecture, variant) = platform.split_once('/').unwrap_or((platform, ""));
            let image = Image::for_platform(architecture, variant);
            let digest = fake::digest(&image.manifest);
            let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": image.manifest.len(),
                "platform": {"os": "linux", "architecture": architecture}});
            if !variant.is_empty() {
                entry["platform"]["variant"] = json!(variant);
            }
            entries.insert(0, json!({"mediaType": MANIFEST, "digest": fake::digest(platform.as_bytes()), "size": 100,
                "annotations": {"vnd.docker.reference.digest": digest, "vnd.docker.reference.type": "attestation-manifest"},
                "platform": {"os": "unknown", "architecture": "unknown"}}));
            entries.push(entry);
            images.push(image);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        Many {
            images,
            index: index.to_string().into_bytes(),
        }
    }

    fn answer(&self, request: &Seen) -> Answer {
        let Some((_, wanted)) = request.path.split_once("/manifests/") else {
            let found = self.images.iter().map(|image| image.answer(request));
            return found
                .into_iter()
                .find(|answer| answer.status != 404)
                .unwrap_or_else(|| Answer::new(404));
        };
        let image = self
            .images
            .iter()
            .find(|image| fake::digest(&image.manifest) == wanted);
        let own = fake::digest(&self.index);
        match image {
            Some(image) => image.answer(request),
            None if wanted.starts_with("sha256:") && wanted != own => Answer::new(404),
            None => Answer::new(200)
                .with("Content-Type", INDEX)
                .with("Docker-Content-Digest", own)
                .body(self.index.clone()),
        }
    }
}

#[test]
fn the_image_for_the_platform_is_taken_from_an_index() {
    let sandbox = Sandbox::bare();
    let many = Arc::new(Many::of(&[
        "s390x", "arm/v5", "arm/v6", "arm64/v8", "amd64", "386",
    ]));
    let served = Arc::clone(&many);
    let fake = Fake::start(&sandbox, move |request| served.answer(request));
    let name = format!("{}/x", fake.address);
    let digest = fake::digest(&many.index);
    for (platform, expected) in [
        ("", "amd64"),
        ("linux/amd64", "amd64"),
        ("linux/x86_64", "amd64"),
        ("linux/arm64", "arm64 v8"),
        ("linux/aarch64", "arm64 v8"),
        ("linux/arm/v7", "arm v6"),
        ("linux/arm", "arm v6"),
        ("linux/arm/v5", "arm v5"),
        ("linux/s390x", "s390x"),
        ("linux/386", "386"),
    ] {
        let option = format!("--platform={platform}");
        let mut command = vec!["pull", name.as_str()];
        if !platform.is_empty() {
            command.insert(1, &option);
        }
        let said = sandbox.ok(&command);
        assert!(said.contains(&format!("Digest: {digest}\n")), "{said}");
        let found = sandbox.ok(&[
            "image",
            "inspect",
            "-f",
            "{{.Architecture}} {{.Variant}}",
            &name,
        ]);
        assert_eq!(found.trim_end(), expected, "{platform}");
        // What was found is known by the digest of the index.
        let known = sandbox.inspect(&name, "{{json .RepoDigests}}");
        assert_eq!(known, format!("[\"{name}@{digest}\"]"), "{platform}");
    }
    let said = sandbox.fails(1, &["pull", "--platform", "linux/riscv64", &name]);
    assert!(
        said.contains("no matching manifest for linux/riscv64 in the manifest list entries"),
        "{said}"
    );
    let said = sandbox.fails(1, &["pull", "--platform", "windows/amd64", &name]);
    assert!(
        said.contains("no matching manifest for windows/amd64"),
        "{said}"
    );
    // By the digest of one platform's image, whatever the machine is.
    let one = fake::digest(&many.images[0].manifest);
    let digested = format!("{name}@{one}");
    sandbox.ok(&["pull", "-q", &digested]);
    assert_eq!(sandbox.inspect(&digested, "{{.Architecture}}"), "s390x");
    let shown = sandbox.ok(&["manifest", "inspect", &name]);
    assert_eq!(
        shown.matches("\"architecture\": \"unknown\"").count(),
        6,
        "{shown}"
    );
}

#[test]
fn the_variant_that_is_best_for_this_machine_is_taken() {
    let sandbox = Sandbox::bare();
    for (entries, expected) in [
        (&["amd64/v2", "amd64"][..], "v2"),
        (&["amd64", "amd64/v9"], ""),
        (&["386"], ""),
    ] {
        let many = Many::of(entries);
        let fake = Fake::start(&sandbox, move |request| many.answer(request));
        let name = format!("{}/x", fake.address);
        sandbox.ok(&["pull", "-q", &name]);
        let found = sandbox.ok(&["image", "inspect", "-f", "{{.Variant}}", &name]);
        // A processor without the second level has the plain one.
        let has_v2 = std::fs::read_to_string("/proc/cpuinfo")
            .unwrap()
            .contains("sse4_2");
        let expected = if has_v2 { expected } else { "" };
        assert_eq!(found.trim_end(), expected, "{entries:?}");
        sandbox.ok(&["rmi", &name]);
    }
}

#[test]
fn an_image_of_twenty_layers_comes_and_goes() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[5000; 20]));
    let served = Arc::clone(&image);
    let fake = Fake::start(&sandbox, move |request| served.answer(request));
    let name = format!("{}/x", fake.address);
    let said = sandbox.ok(&["pull", &name]);
    assert_eq!(said.matches(": Pull complete").count(), 20, "{said}");
    assert_eq!(layers(&sandbox).len(), 20);
    assert_eq!(sandbox.ok(&["save", &name, "-o", "saved.tar"]), "");
    let members = sandbox.shell("tar -tf saved.tar");
    assert!(members.contains("manifest.json"), "{members}");
    sandbox.ok(&["create", "--name", "box", &name, "x"]);
    let files = sandbox.shell(&format!("{} export box | tar -t", crate::sandbox::ARIL));
    assert_eq!(
        files
            .lines()
            .filter(|line| line.starts_with("file"))
            .count(),
        20,
        "{files}"
    );
    sandbox.ok(&["rm", "box"]);
    sandbox.ok(&["rmi", &name]);
    assert!(layers(&sandbox).is_empty() && blobs(&sandbox).is_empty());
}

/// An image whose only layer is `media_type` and to be had at `urls`.
fn foreign(media_type: &str, urls: &[String]) -> Image {
    let mut image = Image::of(&[50_000]);
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"][0]["mediaType"] = json!(media_type);
    manifest["layers"][0]["urls"] = json!(urls);
    image.manifest = manifest.to_string().into_bytes();
    image
}

#[test]
fn layers_are_fetched_where_the_manifest_says() {
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let sandbox = Sandbox::bare();
    let plain = Image::of(&[50_000]);
    let elsewhere = Fake::start(&sandbox, move |request| plain.answer(request));
    let place = |image: &str| format!("http://{}/{image}", elsewhere.address);
    let layer = Image::of(&[50_000]).layers[0].clone();
    // The first one is there no more.
    let urls = [
        place("gone"),
        "ftp://example.com/x".to_owned(),
        place(&layer),
    ];
    let image = Arc::new(foreign(FOREIGN, &urls));
    let served = Arc::clone(&image);
    let fake = Fake::start(&sandbox, move |request| {
        if request.method == "PUT" && request.path.contains("/manifests/") {
            return Answer::new(201);
        }
        if request.method == "HEAD" && request.path.contains(&served.config) {
            return Answer::new(200);
        }
        if request.header("authorization").is_none() {
            return Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        // The layer is not in the registry at all.
        if request.path.contains(&served.layers[0]) {
            Answer::new(404)
        } else {
            served.answer(request)
        }
    });
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let entry = |address: &str| format!("\"{address}\": {{\"auth\": \"bWU6c2VjcmV0\"}}");
    let auths = format!(
        "{{\"auths\": {{{}, {}}}}}",
        entry(&fake.address),
        entry(&elsewhere.address)
    );
    std::fs::write(sandbox.home(".docker/config.json"), auths).unwrap();
    let name = format!("{}/x", fake.address);
    sandbox.ok(&["pull", &name]);
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").is_none())
    );
    // It stays there when the image goes on.
    let said = sandbox.ok(&["push", &name]);
    assert!(said.contains(": Skipped foreign layer"), "{said}");
    assert!(said.contains(&fake::digest(&image.manifest)), "{said}");
    assert!(fake.asked("POST", "/uploads/").is_empty());
    sandbox.ok(&["rmi", &name]);
    drop(fake);
    // What is nowhere else comes from the registry.
    let image = foreign(FOREIGN, &[place("gone")]);
    let fake = Fake::start(&sandbox, move |request| image.answer(request));
    sandbox.ok(&["pull", "-q", &format!("{}/x", fake.address)]);
}
