//! Registries that refuse, redirect, cut, stall and lie: what is said, and that nothing wrong is ever kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fake::{self, Answer, Fake, INDEX, Image, MANIFEST, Seen};
use super::{blobs, layers, parts};
use crate::sandbox::Sandbox;

/// What is wrong with an answer.
type Change = Box<dyn Fn(&Seen, &mut Answer) + Send + Sync>;

/// Counts up and returns how often it was called before.
fn counter() -> impl Fn() -> usize + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move || count.fetch_add(1, Ordering::Relaxed)
}

#[track_caller]
fn nothing_is_kept(sandbox: &Sandbox) {
    assert!(layers(sandbox).is_empty() && parts(sandbox).is_empty());
    assert_eq!(sandbox.ok(&["images", "-q"]), "");
}

#[test]
fn a_cut_stream_is_gone_on_with() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[900_000]));
    let served = Arc::clone(&image);
    let knows_ranges = [true, false];
    for (number, ranges) in knows_ranges.into_iter().enumerate() {
        let given = Arc::clone(&served);
        let cuts = counter();
        let fake = Fake::start(&sandbox, move |request| {
            let mut request = request.clone();
            if !ranges {
                request.headers.remove("range");
            }
            let mut answer = given.answer(&request);
            if request.path.contains(&given.layers[0]) && cuts() < 2 {
                answer.cut = Some(300_000);
            }
            answer
        });
        let name = format!("{}/x:{number}", fake.address);
        let said = sandbox.ok(&["pull", &name]);
        assert!(said.contains("Retrying in 1 second"), "{said}");
        assert!(said.contains("Status: Downloaded newer image"), "{said}");
        let asked = fake.asked("GET", &image.layers[0]);
        let starts: Vec<_> = asked.iter().map(Seen::range).collect();
        let second = if ranges { Some(600_000) } else { Some(300_000) };
        assert_eq!(starts[..2], [None, Some(300_000)], "{starts:?}");
        assert_eq!(starts[2], second, "{starts:?}");
        sandbox.ok(&["rmi", &name]);
    }
}

#[test]
fn refusals_that_pass_are_waited_out() {
    let sandbox = Sandbox::bare();
    let image = Image::of(&[1000]);
    let manifests = counter();
    let blobs = counter();
    let fake = Fake::start(&sandbox, move |request| {
        if request.method == "GET" && request.path.contains("/manifests/") && manifests() == 0 {
            return Answer::new(503);
        }
        if request.path.contains("/blobs/") && blobs() == 0 {
            return Answer::new(429).with("Retry-After", "1");
        }
        image.answer(request)
    });
    let begun = Instant::now();
    sandbox.ok(&["pull", "-q", &format!("{}/x", fake.address)]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn refusals_that_stay_are_told_in_dockers_words() {
    let sandbox = Sandbox::bare();
    let errors = |code: &str, message: &str| {
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
    };
    let denied = "pull access denied for ADDRESS/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
    for (answer, expected) in [
        (
            Answer::new(404).body(errors("MANIFEST_UNKNOWN", "manifest unknown")),
            "manifest for ADDRESS/x:latest not found: manifest unknown: manifest unknown",
        ),
        (
            Answer::new(404).body(errors(
                "NAME_UNKNOWN",
                "repository name not known to registry",
            )),
            "repository ADDRESS/x not found: name unknown: repository name not known to registry",
        ),
        (
            Answer::new(403).body(errors(
                "DENIED",
                "requested access to the resource is denied",
            )),
            denied,
        ),
        (
            Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\""),
            "no basic auth credentials",
        ),
        (
            Answer::new(429).body(errors("TOOMANYREQUESTS", "You have reached your limit.")),
            "toomanyrequests: You have reached your limit.",
        ),
        (
            Answer::new(400).body("<html><h1>Bad</h1></html>"),
            "received unexpected HTTP status: 400 Bad Request",
        ),
    ] {
        let fake = Fake::start(&sandbox, move |_| answer.clone());
        let name = format!("{}/x", fake.address);
        let said = sandbox.fails(1, &["pull", &name]);
        let expected = expected.replace("ADDRESS", &fake.address);
        assert!(said.contains(&expected), "{said}\nlacks {expected}");
        assert!(fake.seen().len() <= 8, "asked {} times", fake.seen().len());
    }
    nothing_is_kept(&sandbox);
}

#[test]
fn cve_2024_3727_and_2023_25153_lies_are_found_out() {
    let sandbox = Sandbox::bare();
    let good = Image::of(&[200_000, 1000]);
    let layer = good.layers[0].clone();
    let other = fake::gzip(&fake::tar("file0", &fake::noise(77, 200_000)));
    let flipped = {
        let mut blob = good.blobs[&layer].clone();
        let middle = blob.len() / 2;
        blob[middle] ^= 0x55;
        blob
    };
    let mut longer = good.blobs[&layer].clone();
    longer.extend_from_slice(&[0; 100]);
    let size = good.blobs[&layer].len();
    let serve = |change: Change| {
        let image = good.clone();
        move |request: &Seen| {
            let mut answer = image.answer(request);
            change(request, &mut answer);
            answer
        }
    };
    let of_layer = |bytes: Vec<u8>| -> Change {
        let layer = layer.clone();
        Box::new(move |request, answer| {
            if request.path.contains(&layer) {
                *answer = fake::ranged(request, &bytes);
            }
        })
    };
    let config = good.config.clone();
    let manifest_digest = fake::digest(&good.manifest);
    let of_config: Change = Box::new(move |request, answer| {
        if request.path.contains(&config) {
            answer.body[10] ^= 1;
        }
    });
    let of_manifest: Change = Box::new(move |request, answer| {
        if request.path.contains("/manifests/") {
            answer.body.push(b' ');
        }
    });
    let huge: Change = Box::new(move |request, answer| {
        if request.path.contains("/manifests/") {
            *answer = Answer::new(200)
                .with("Content-Type", MANIFEST)
                .body(vec![b' '; 5 << 20]);
        }
    });
    let promised = format!("bytes where {size} were promised");
    for (change, expected) in [
        (
            of_layer(other),
            "filesystem layer verification failed for digest".to_owned(),
        ),
        (of_layer(flipped), "layer ".to_owned()),
        (of_layer(longer), promised),
        (
            of_config,
            "filesystem layer verification failed for digest".to_owned(),
        ),
        (
            of_manifest,
            format!("manifest verification failed for digest {manifest_digest}"),
        ),
        (huge, "larger than 4194304 bytes".to_owned()),
    ] {
        let fake = Fake::start(&sandbox, serve(change));
        let said = sandbox.fails(1, &["pull", &format!("{}/x", fake.address)]);
        assert!(said.contains(&expected), "{said}\nlacks {expected}");
        assert_eq!(sandbox.ok(&["images", "-q"]), "");
        // What was bad is not gone on with: a good registry is enough afterwards.
        drop(fake);
        let image = good.clone();
        let fake = Fake::start(&sandbox, move |request| image.answer(request));
        sandbox.ok(&["pull", "-q", &format!("{}/x", fake.address)]);
        sandbox.ok(&["rmi", &format!("{}/x", fake.address)]);
        assert!(layers(&sandbox).is_empty() && blobs(&sandbox).is_empty());
    }
}

#[test]
fn cve_2021_41190_what_is_no_image_is_refused() {
    let sandbox = Sandbox::bare();
    let image = Image::of(&[10]);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let both = text.replacen('{', r#"{"manifests":[],"#, 1);
    let chart = text.replace(
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.cncf.helm.config.v1+json",
    );
    let layers_missing = {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["layers"] = serde_json::json!([]);
        value.to_string()
    };
    let foreign = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,
        "platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#,
        fake::digest(b"x")
    );
    for (media_type, body, expected) in [
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            "schema 1 support has been removed",
        ),
        (MANIFEST, both, "an image and an index at once"),
        (INDEX, text, "not what its media type"),
        (MANIFEST, chart, "it is no image"),
        (MANIFEST, layers_missing, "has 1 layers, and its manifest 0"),
        (
            INDEX,
            foreign,
            "no matching manifest for linux/amd64 in the manifest list entries",
        ),
        ("text/html", "<html>".to_owned(), "the manifest is no JSON"),
    ] {
        let image = image.clone();
        let fake = Fake::start(&sandbox, move |request| {
            if request.path.contains("/manifests/") {
                return Answer::new(200)
                    .with("Content-Type", media_type)
                    .with("Docker-Content-Digest", fake::digest(body.as_bytes()))
                    .body(body.clone());
            }
            image.answer(request)
        });
        let said = sandbox.fails(1, &["pull", &format!("{}/x", fake.address)]);
        assert!(said.contains(expected), "{said}\nlacks {expected}");
    }
    nothing_is_kept(&sandbox);
}

#[test]
fn cve_2020_15157_redirects_leave_secrets_behind() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[500_000]));
    let stored = Arc::clone(&image);
    let cuts = counter();
    let storage = Fake::start(&sandbox, move |request| {
        let mut answer = stored.answer(request);
        if cuts() == 0 {
            answer.cut = Some(100_000);
        }
        answer
    });
    let (target, served) = (storage.address.clone(), Arc::clone(&image));
    let registry = Fake::start(&sandbox, move |request| {
        if request.path.starts_with("/token") {
            return Answer::new(200).body(r#"{"token":"secret-token"}"#);
        }
        if request.header("authorization") != Some("Bearer secret-token") {
            let host = request.header("host").unwrap_or_default();
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            return Answer::new(401).with("WWW-Authenticate", challenge);
        }
        if request.path.contains(&served.layers[0]) {
            let to = format!("http://{target}/there/{}", served.layers[0]);
            return Answer::new(307).with("Location", to);
        }
        served.answer(request)
    });
    sandbox.ok(&["pull", &format!("{}/x", registry.address)]);
    let seen = storage.seen();
    assert_eq!(
        seen.iter().map(Seen::range).collect::<Vec<_>>(),
        [None, Some(100_000)]
    );
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").is_none())
    );
    let tokens = registry.asked("GET", "/token");
    assert_eq!(tokens.len(), 1, "a token is asked for once");
    assert_eq!(
        tokens[0].path,
        "/token?service=s&scope=repository%3Ax%3Apull"
    );
}

#[test]
fn cve_2019_10214_token_servers_inside_of_the_network_are_not_asked() {
    let sandbox = Sandbox::bare();
    for realm in [
        "https://169.254.169.254/latest",
        "https://10.0.0.1/token",
        "https://[fd00::1]/token",
        "ftp://example.com/token",
    ] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let fake = Fake::start(&sandbox, move |_| {
            Answer::new(401).with("WWW-Authenticate", challenge.clone())
        });
        let said = sandbox.fails(1, &["pull", &format!("{}/x", fake.address)]);
        assert!(
            said.contains("refused to ask the token server"),
            "{realm}: {said}"
        );
    }
}

#[test]
fn an_interrupted_pull_is_gone_on_with() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[2_000_000]));
    for signal in [
        rustix::process::Signal::INT,
        rustix::process::Signal::TERM,
        rustix::process::Signal::KILL,
    ] {
        let served = Arc::clone(&image);
        let stalls = counter();
        let fake = Fake::start(&sandbox, move |request| {
            let mut answer = served.answer(request);
            if request.path.contains(&served.layers[0]) && stalls() == 0 {
                answer.stall = Some(1_000_000);
            }
            answer
        });
        let name = format!("{}/x", fake.address);
        let mut pull = sandbox.spawn(&["pull", &name]);
        let part = || {
            parts(&sandbox)
                .into_iter()
                .find_map(|part| part.metadata().ok())
                .map_or(0, |meta| meta.len())
        };
        crate::sandbox::wait_until("most of what comes is stored", || part() == 1_000_000);
        let begun = Instant::now();
        pull.signal(signal);
        let ran = pull.wait();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let number = signal.as_raw();
        let code = if signal == rustix::process::Signal::KILL {
            -number
        } else {
            128 + number
        };
        assert_eq!((ran.code, ran.err.as_str()), (code, ""));
        assert_eq!(part(), 1_000_000);
        if code > 0 {
            let left = std::fs::read_dir(sandbox.root().join("tmp"))
                .unwrap()
                .count();
            assert_eq!(left, 0, "nothing half unpacked is left");
        }
        sandbox.ok(&["pull", &name]);
        let asked = fake.asked("GET", &image.layers[0]);
        assert_eq!(asked.last().unwrap().range(), Some(1_000_000));
        assert!(parts(&sandbox).is_empty());
        sandbox.ok(&["rmi", &name]);
    }
}
