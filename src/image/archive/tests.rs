//! Archives of each kind and age, saved and loaded, whole and broken.

use std::fs::File;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::Result;
use oci_spec::image::Digest;
use serde_json::{Value, json};

use super::import::{ImportOptions, import};
use super::load::{Input, LoadOptions, Loaded, load, load_file};
use super::save::{save, select};
use crate::image::snapshot::lowers;
use crate::image::tarball::{Entry, Kind};
use crate::image::testing::{Archive, Scratch, named, store};
use crate::image::work::list;
use crate::image::{Image, Images, blobs, layers};
use crate::oci::digest;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Loads bytes as a stream, and as a file.
fn load_both(bytes: &[u8], check: impl Fn(&Images, Result<Vec<Loaded>>)) {
    for seekable in [false, true] {
        let (scratch, images) = store("load");
        let options = LoadOptions::default();
        let loaded = if seekable {
            let path = scratch.0.join("archive.tar");
            std::fs::write(&path, bytes).unwrap();
            load_file(&images, File::open(path).unwrap(), &options, &mut |_| {})
        } else {
            let stream = Input::Stream(Box::new(Cursor::new(bytes.to_vec())));
            load(&images, stream, &options, &mut |_| {})
        };
        check(&images, loaded);
        for dir in [
            images.dirs().tmp(),
            images.dirs().leases(),
            images.dirs().ingest(),
        ] {
            assert!(list(&dir).unwrap().is_empty(), "{}", dir.display());
        }
    }
}

fn names(loaded: &[Loaded]) -> Vec<String> {
    let names = loaded.iter().map(|line| match &line.reference {
        Some(reference) => reference.familiar(),
        None => line.id.to_string(),
    });
    names.collect()
}

fn saved(images: &Images, texts: &[&str]) -> Vec<u8> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let mut out = Vec::new();
    save(images, &select(images, &texts).unwrap(), &mut out).unwrap();
    out
}

/// A configuration of these layers, as docker writes it.
fn config(layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| digest::sha256(layer)).collect();
    json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

fn layer(name: &str) -> Vec<u8> {
    Archive::default().file(name, name).end()
}

/// An OCI layout as files: path and content.
struct Layout(Vec<(String, Vec<u8>)>);

impl Layout {
    fn new() -> Layout {
        Layout(vec![(
            "oci-layout".to_owned(),
            b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec(),
        )])
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest::sha256(bytes);
        let path = format!("blobs/sha256/{}", digest.digest());
        self.0.push((path, bytes.to_vec()));
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Adds an image with these layers, compressed by gzip, and returns the descriptor of its manifest.
    fn image(&mut self, layers: &[&[u8]], architecture: &str) -> Value {
        let mut config = config(layers);
        config["architecture"] = json!(architecture);
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer)))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers});
        let bytes = manifest.to_string();
        self.blob(
            "application/vnd.oci.image.manifest.v1+json",
            bytes.as_bytes(),
        )
    }

    fn archive(&self, manifests: &[Value]) -> Vec<u8> {
        let mut archive = Archive::default();
        for (path, bytes) in &self.0 {
            archive.put(&Entry::new(path.as_str(), Kind::File, 0o644), bytes);
        }
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        archive.file("index.json", &index);
        archive.end()
    }
}

#[test]
fn what_is_saved_is_loaded() {
    let (_scratch, images) = store("save");
    let one = named(&images, &["base", "1"], &["one:1", "one:2"]);
    let two = named(&images, &["base", "2"], &["host:5000/two:x"]);
    let bytes = saved(&images, &["one", "host:5000/two:x"]);
    assert_eq!(
        bytes,
        saved(&images, &["one", "host:5000/two:x"]),
        "the same twice"
    );
    for bytes in [bytes.clone(), gzip(&bytes)] {
        load_both(&bytes, |fresh, loaded| {
            let loaded = loaded.unwrap();
            assert_eq!(names(&loaded), ["one:1", "one:2", "host:5000/two:x"]);
            for image in [&one, &two] {
                let found = fresh.by_id(&image.id).unwrap();
                assert_eq!(
                    found.manifest, image.manifest,
                    "the digest of the manifest is kept"
                );
                assert_eq!(
                    (found.size, &found.references),
                    (image.size, &image.references)
                );
                lowers(fresh, &found).unwrap();
            }
            assert_eq!(layers::names(fresh).unwrap().len(), 3);
            assert_eq!(
                saved(fresh, &["one", "host:5000/two:x"]),
                saved(&images, &["one", "host:5000/two:x"])
            );
        });
    }
}

#[test]
fn a_layer_of_a_directory_is_saved_as_its_archive() {
    let (_scratch, images) = store("save-tree");
    let root = Archive::default().dir("d", 0o755).file("d/x", "x").end();
    let options = ImportOptions {
        reference: Some(Reference::parse("imported:1").unwrap()),
        ..ImportOptions::default()
    };
    let image = import(&images, &root[..], &options).unwrap();
    let bytes = saved(&images, &["imported:1"]);
    load_both(&bytes, |fresh, loaded| {
        assert_eq!(loaded.unwrap()[0].id, image.id);
        assert_eq!(fresh.by_id(&image.id).unwrap().manifest, image.manifest);
        lowers(fresh, &image).unwrap();
    });
    // Once more into the store where it came from: nothing is doubled.
    let stream = Input::Stream(Box::new(Cursor::new(bytes)));
    let loaded = load(&images, stream, &LoadOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(loaded[0].replaced, None);
    assert_eq!(images.list().unwrap().len(), 1);
    assert_eq!(
        blobs::list(&images).unwrap().len(),
        2,
        "a configuration and a manifest"
    );
}

#[test]
fn saved_archives_have_both_descriptions() {
    let (scratch, images) = store("save-names");
    let image = named(&images, &["1"], &["sv:1"]);
    let path = scratch.0.join("sv.tar");
    let selected = [
        select(&images, &["sv:1".to_owned()]).unwrap(),
        select(&images, &[digest::short(&image.id).to_owned()]).unwrap(),
    ];
    assert!(selected[1][0].references.is_empty());
    save(&images, &selected[0], File::create(&path).unwrap()).unwrap();
    let listed = std::process::Command::new("tar")
        .arg("tf")
        .arg(&path)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let top: Vec<&str> = listed.lines().filter(|line| !line.contains('/')).collect();
    assert_eq!(
        top,
        ["index.json", "manifest.json", "oci-layout", "repositories"]
    );
    let read = |name: &str| -> Value {
        let mut command = std::process::Command::new("tar");
        let out = command.arg("xOf").arg(&path).arg(name).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let config = format!("blobs/sha256/{}", image.id.digest());
    assert_eq!(read("manifest.json")[0]["Config"], config);
    assert_eq!(read("manifest.json")[0]["RepoTags"], json!(["sv:1"]));
    let notes = &read("index.json")["manifests"][0]["annotations"];
    assert_eq!(notes["io.containerd.image.name"], "docker.io/library/sv:1");
    assert_eq!(notes["org.opencontainers.image.ref.name"], "1");
    assert_eq!(read("repositories")["sv"]["1"], image.layers()[0].digest());
    let mut nameless = Vec::new();
    save(&images, &selected[1], &mut nameless).unwrap();
    load_both(&nameless, |_, loaded| {
        assert_eq!(names(&loaded.unwrap()), [image.id.to_string()]);
    });
    let error = select(&images, &["nosuch".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "No such image: nosuch");
}

#[test]
fn archives_of_docker_before_25() {
    let (lower, upper) = (layer("lower"), layer("upper"));
    let config = config(&[&lower, &upper, &lower]).to_string();
    let id = digest::sha256(config.as_bytes());
    let item = json!([{"Config": format!("{}.json", id.digest()), "RepoTags": ["old:1", "old:2"],
        "Layers": ["aaa/layer.tar", "bbb/layer.tar", "ccc/layer.tar"]}]);
    let mut archive = Archive::default();
    archive
        .dir("aaa", 0o755)
        .put(&Entry::new("aaa/layer.tar", Kind::File, 0o644), &lower)
        .file("aaa/VERSION", "1.0")
        .put(
            &Entry::new("bbb/layer.tar", Kind::File, 0o644),
            &gzip(&upper),
        )
        .symlink("ccc/layer.tar", "../aaa/layer.tar")
        .file(&format!("{}.json", id.digest()), &config)
        .file("manifest.json", &item.to_string())
        .file("repositories", "{}");
    load_both(&archive.end(), |images, loaded| {
        let loaded = loaded.unwrap();
        assert_eq!(names(&loaded), ["old:1", "old:2"]);
        let image = images.by_id(&id).unwrap();
        assert_eq!(image.layers().len(), 3);
        lowers(images, &image).unwrap();
        // Compressed layers stay as they were.
        assert!(blobs::contains(images, &digest::sha256(&gzip(&upper))).unwrap());
    });
}

#[test]
fn archives_of_docker_before_1_10() {
    let (lower, upper) = (layer("lower"), layer("upper"));
    let mut archive = Archive::default();
    archive
        .file(
            "repositories",
            "{\"ancient\":{\"latest\":\"bbb\",\"1\":\"bbb\"}}",
        )
        .file(
            "bbb/json",
            &json!({"id": "bbb", "parent": "aaa", "os": "linux", "architecture": "amd64",
            "config": {"Cmd": ["run"]}, "container_config": {"Cmd": ["/bin/sh", "-c", "make"]}})
            .to_string(),
        )
        .put(&Entry::new("bbb/layer.tar", Kind::File, 0o644), &upper)
        .file(
            "aaa/json",
            &json!({"id": "aaa", "created": "2014-01-01T00:00:00Z"}).to_string(),
        )
        .put(&Entry::new("aaa/layer.tar", Kind::File, 0o644), &lower);
    load_both(&archive.end(), |images, loaded| {
        let loaded = loaded.unwrap();
        assert_eq!(names(&loaded), ["ancient:1", "ancient:latest"]);
        let image = images.by_id(&loaded[0].id).unwrap();
        assert_eq!(
            image.layers(),
            [digest::sha256(&lower), digest::sha256(&upper)]
        );
        assert_eq!(
            image.config.history[1].created_by.as_deref(),
            Some("/bin/sh -c make")
        );
        assert_eq!(
            image.config.config.as_ref().unwrap().cmd,
            Some(vec!["run".to_owned()])
        );
        lowers(images, &image).unwrap();
    });
}

#[test]
fn oci_archives_and_their_platforms() {
    let mut layout = Layout::new();
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let mut amd64 = layout.image(&[&a], "amd64");
    amd64["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut arm64 = layout.image(&[&b], "arm64");
    arm64["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let attestation = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
        "digest": digest::sha256(b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}});
    let index = json!({"schemaVersion": 2, "manifests": [attestation, arm64, amd64]});
    let mut index = layout.blob(
        "application/vnd.oci.image.index.v1+json",
        index.to_string().as_bytes(),
    );
    index["annotations"] = json!({"io.containerd.image.name": "docker.io/library/multi:1"});
    let mut plain = layout.image(&[&c], "amd64");
    plain["annotations"] = json!({"org.opencontainers.image.ref.name": "example.org/plain:2"});
    let mut tag_only = layout.image(&[&a, &c], "amd64");
    tag_only["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let bytes = layout.archive(&[index, plain, tag_only]);
    let host = Platform::host().architecture;
    load_both(&bytes, |images, loaded| {
        let loaded = loaded.unwrap();
        assert_eq!(names(&loaded)[..2], ["multi:1", "example.org/plain:2"]);
        assert_eq!(loaded[2].reference, None, "a tag alone names no image");
        assert_eq!(
            images.by_id(&loaded[0].id).unwrap().config.architecture,
            host
        );
        let image = images.by_id(&loaded[1].id).unwrap();
        // Manifest and blobs are those of the archive.
        let manifest = image.manifest.clone().unwrap();
        assert!(blobs::contains(images, manifest.digest()).unwrap());
        assert!(blobs::contains(images, &digest::sha256(&gzip(&c))).unwrap());
        lowers(images, &image).unwrap();
    });
    let (_scratch, images) = store("platform");
    let options = |text: &str| LoadOptions {
        platform: Some(Platform::parse(text).unwrap()),
    };
    let input = || Input::Stream(Box::new(Cursor::new(bytes.clone())));
    let loaded = load(&images, input(), &options("linux/arm64"), &mut |_| {}).unwrap();
    assert_eq!(names(&loaded), ["multi:1"]);
    let error = load(&images, input(), &options("linux/s390x"), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[test]
fn a_tag_moves_to_what_is_loaded() {
    let (_scratch, images) = store("moves");
    let old = named(&images, &["old"], &["x:1"]);
    let (_other_scratch, other) = store("moves-other");
    let new = named(&other, &["new"], &["x:1"]);
    let stream = Input::Stream(Box::new(Cursor::new(saved(&other, &["x:1"]))));
    let loaded = load(&images, stream, &LoadOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(loaded[0].replaced.as_ref(), Some(&old.id));
    assert_eq!(loaded[0].id, new.id);
    assert!(images.by_id(&old.id).unwrap().is_dangling());
}

#[test]
fn broken_archives_leave_nothing() {
    let good = layer("x");
    let named_config = |config: &str, layers: &str| {
        let mut archive = Archive::default();
        archive
            .file("c.json", config)
            .put(&Entry::new("l.tar", Kind::File, 0o644), &good);
        archive.file(
            "manifest.json",
            &format!("[{{\"Config\":\"c.json\",\"RepoTags\":[\"b:1\"],\"Layers\":{layers}}}]"),
        );
        archive.end()
    };
    let wrong = config(&[b"something else"]).to_string();
    let windows = wrong.replace("\"linux\"", "\"windows\"");
    let mismatch = format!(
        "filesystem layer verification failed for digest {}",
        digest::sha256(b"something else")
    );
    let mut layout = Layout::new();
    let image = layout.image(&[&good], "amd64");
    layout.0[1].1[5] ^= 1;
    let (_scratch, images) = store("whole");
    named(&images, &["1"], &["w:1"]);
    let whole = saved(&images, &["w"]);
    for (bytes, why) in [
        (b"rubbish".to_vec(), "ends inside a header"),
        (vec![], "neither manifest.json nor index.json"),
        (
            Archive::default().file("x", "").end(),
            "neither manifest.json nor index.json",
        ),
        (named_config(&wrong, "[\"l.tar\"]"), mismatch.as_str()),
        (
            named_config(&wrong, "[]"),
            "layers length mismatch: expected 0, got 1",
        ),
        (
            named_config(&wrong, "[\"missing.tar\"]"),
            "the archive lacks a layer",
        ),
        (
            named_config(&windows, "[\"l.tar\"]"),
            "cannot load windows image on linux",
        ),
        (named_config("rubbish", "[\"l.tar\"]"), "c.json"),
        (
            Archive::default().file("manifest.json", "null").end(),
            "manifest cannot be null",
        ),
        (layout.archive(&[image]), "is damaged"),
        (whole[..whole.len() / 2].to_vec(), "ends inside"),
    ] {
        load_both(&bytes, |images, loaded| {
            let error = format!("{:#}", loaded.unwrap_err());
            assert!(error.contains(why), "{error:?} does not say {why:?}");
            assert!(images.list().unwrap().is_empty());
            assert!(layers::names(images).unwrap().is_empty());
        });
    }
}

#[test]
fn many_load_the_same_archive_at_once() {
    let (_other_scratch, other) = store("source");
    let images_of = |n: usize| named(&other, &["base", &n.to_string()], &[&format!("many:{n}")]);
    let all: Vec<Image> = (0..4).map(images_of).collect();
    let bytes = saved(&other, &["many"]);
    let (scratch, images) = store("many");
    let path = scratch.0.join("many.tar");
    std::fs::write(&path, &bytes).unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (images, path, bytes) = (&images, &path, &bytes);
            scope.spawn(move || {
                let input = if n % 2 == 0 {
                    Input::from_file(File::open(path).unwrap()).unwrap()
                } else {
                    Input::Stream(Box::new(Cursor::new(bytes.clone())))
                };
                let loaded = load(images, input, &LoadOptions::default(), &mut |_| {}).unwrap();
                assert_eq!(loaded.len(), 4);
            });
        }
        // Somebody collects meanwhile.
        for _ in 0..20 {
            crate::image::gc::collect(&images, &mut || Ok(Vec::new())).unwrap();
            crate::image::gc::empty_trash(&images).unwrap();
        }
    });
    for image in &all {
        let found = images.by_id(&image.id).unwrap();
        lowers(&images, &found).unwrap();
    }
    assert_eq!(layers::names(&images).unwrap().len(), 5);
    assert!(list(&images.dirs().tmp()).unwrap().is_empty());
    assert_eq!(saved(&images, &["many"]), bytes);
}

#[test]
fn progress_comes_to_the_end() {
    let (_other_scratch, other) = store("progress-source");
    let image = named(&other, &["a"], &["p:1"]);
    let stream = Input::Stream(Box::new(Cursor::new(saved(&other, &["p"]))));
    let (_scratch, images) = store("progress");
    let mut seen = Vec::new();
    load(&images, stream, &LoadOptions::default(), &mut |step| {
        seen.push(step);
    })
    .unwrap();
    let last = seen.last().unwrap();
    assert_eq!(last.layer.as_ref(), Some(&image.layers()[0]));
    assert!(last.total > 0 && last.current == last.total);
}

#[test]
fn names_of_members_do_not_lead_out() {
    let outside = Scratch::new("outside");
    std::fs::write(outside.0.join("c.json"), config(&[]).to_string()).unwrap();
    let secret = outside.0.join("c.json");
    let mut archive = Archive::default();
    archive.symlink("c.json", secret.to_str().unwrap());
    archive.file("manifest.json", "[{\"Config\":\"c.json\",\"Layers\":[]}]");
    load_both(&archive.end(), |_, loaded| {
        assert!(format!("{:#}", loaded.unwrap_err()).contains("has no \"c.json\""));
    });
    let mut archive = Archive::default();
    archive.file(
        "manifest.json",
        "[{\"Config\":\"../../c.json\",\"Layers\":[]}]",
    );
    load_both(&archive.end(), |_, loaded| {
        assert!(format!("{:#}", loaded.unwrap_err()).contains("has \"..\""));
    });
    assert!(Path::new(&secret).exists());
}
