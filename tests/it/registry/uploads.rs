//! Pushes to registries that cut, forget, or take only so much at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::fake::{self, Answer, Fake, Seen, noise};
use crate::sandbox::Sandbox;

/// What a registry that takes uploads has got.
#[derive(Default)]
struct Taken {
    blobs: HashMap<String, Vec<u8>>,
    /// What has come of sessions that are not over.
    sessions: HashMap<String, Vec<u8>>,
    begun: usize,
    manifests: Vec<Vec<u8>>,
}

impl Taken {
    /// Answers as a good registry does, whose sessions have something in their query that is to stay.
    fn answer(&mut self, request: &Seen) -> Answer {
        let path = request.path.split('?').next().unwrap();
        let last = path.rsplit('/').next().unwrap().to_owned();
        match request.method.as_str() {
            "HEAD" if path.contains("/blobs/") => match self.blobs.get(&last) {
                Some(blob) => Answer::new(200).body(blob.clone()),
                None => Answer::new(404),
            },
            "POST" => {
                self.begun += 1;
                self.sessions.insert(self.begun.to_string(), Vec::new());
                session(&format!("/v2/x/blobs/uploads/{}", self.begun))
            }
            "PATCH" => {
                let Some(session_bytes) = self.sessions.get_mut(&last) else {
                    return Answer::new(404);
                };
                let range = request.header("content-range").unwrap_or_default();
                let start = range.split('-').next().unwrap();
                if start != session_bytes.len().to_string() {
                    return Answer::new(416);
                }
                session_bytes.extend(&request.body);
                session(path)
            }
            "PUT" if path.contains("/manifests/") => {
                self.manifests.push(request.body.clone());
                Answer::new(201)
            }
            "PUT" => {
                assert!(
                    request.path.contains("?_state=a%2Fb&digest="),
                    "{request:?}"
                );
                let Some(mut bytes) = self.sessions.remove(&last) else {
                    return Answer::new(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
                };
                bytes.extend(&request.body);
                let digest = fake::digest(&bytes);
                if !request.path.ends_with(&digest.replace(':', "%3A")) {
                    return Answer::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.blobs.insert(digest.clone(), bytes);
                Answer::new(201).with("Docker-Content-Digest", digest)
            }
            "DELETE" => {
                self.sessions.remove(&last);
                Answer::new(204)
            }
            _ => Answer::new(404),
        }
    }
}

fn session(path: &str) -> Answer {
    Answer::new(202).with("Location", format!("{path}?_state=a%2Fb"))
}

/// Starts a registry whose answers `change` may take the place of, before anything has happened there.
fn start(
    sandbox: &Sandbox,
    change: impl Fn(&Seen, &mut Taken) -> Option<Answer> + Send + Sync + 'static,
) -> (Fake, Arc<Mutex<Taken>>) {
    let taken = Arc::new(Mutex::new(Taken::default()));
    let shared = Arc::clone(&taken);
    let fake = Fake::start(sandbox, move |request| {
        let mut taken = shared.lock().unwrap();
        change(request, &mut taken).unwrap_or_else(|| taken.answer(request))
    });
    (fake, taken)
}

/// Makes an image of one layer that cannot be made smaller, named for a registry; returns its name.
fn image(sandbox: &Sandbox, fake: &Fake, bytes: usize) -> String {
    std::fs::create_dir_all(sandbox.path("tree")).unwrap();
    std::fs::write(sandbox.path("tree/file"), noise(7, bytes)).unwrap();
    let name = format!("{}/x:1", fake.address);
    sandbox.shell("tar -C tree -cf tree.tar .");
    sandbox.ok(&["import", "tree.tar", &name]);
    name
}

/// Whether a request is the end of the upload of a layer, and not of a configuration.
fn ends_layer(request: &Seen) -> bool {
    request.method == "PUT" && request.path.contains("/uploads/") && request.body.len() > 10_000
}

/// Checks that the registry has got all that the manifest names.
#[track_caller]
fn is_complete(taken: &Mutex<Taken>) {
    let taken = taken.lock().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&taken.manifests[0]).unwrap();
    for blob in manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&manifest["config"]])
    {
        let got = &taken.blobs[blob["digest"].as_str().unwrap()];
        assert_eq!(got.len() as u64, blob["size"]);
    }
    assert!(taken.sessions.is_empty(), "no session is left open");
}

#[test]
fn an_upload_that_fails_begins_anew() {
    let sandbox = Sandbox::bare();
    for why in ["cut", "forgotten", "moved on", "busy"] {
        let failures = Mutex::new(0);
        let (fake, taken) = start(&sandbox, move |request, taken| {
            let mut failures = failures.lock().unwrap();
            if !ends_layer(request) || *failures == 2 {
                return None;
            }
            *failures += 1;
            taken.sessions.clear();
            Some(match why {
                "cut" => Answer {
                    hang_up: true,
                    ..Answer::default()
                },
                "forgotten" => {
                    Answer::new(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#)
                }
                "moved on" => Answer::new(416),
                _ => Answer::new(503).with("Retry-After", "0"),
            })
        });
        let name = image(&sandbox, &fake, 200_000);
        sandbox.ok(&["push", &name]);
        is_complete(&taken);
        let sent: Vec<Seen> = fake.seen().into_iter().filter(ends_layer).collect();
        assert_eq!(sent.len(), 3, "{why}");
        assert!(sent.iter().all(|one| one.body == sent[0].body), "{why}");
        sandbox.ok(&["rmi", &name]);
    }
}

#[test]
fn what_came_before_the_connection_ended_is_not_sent_again() {
    let sandbox = Sandbox::bare();
    let (fake, taken) = start(&sandbox, |request, taken| {
        ends_layer(request).then(|| {
            taken.answer(request);
            Answer {
                hang_up: true,
                ..Answer::default()
            }
        })
    });
    let name = image(&sandbox, &fake, 200_000);
    sandbox.ok(&["push", &name]);
    is_complete(&taken);
    assert_eq!(fake.seen().into_iter().filter(ends_layer).count(), 1);
}

#[test]
fn what_is_too_large_at_once_is_sent_in_pieces() {
    const MOST: usize = 9 << 20;
    let sandbox = Sandbox::bare();
    let (fake, taken) = start(&sandbox, |request, _| {
        (request.body.len() > MOST).then(|| Answer::new(413).body("<html>too large</html>"))
    });
    let name = image(&sandbox, &fake, 20 << 20);
    sandbox.ok(&["push", &name]);
    is_complete(&taken);
    let pieces = fake.asked("PATCH", "/uploads/");
    assert_eq!(pieces.len(), 3);
    let ranges: Vec<&str> = pieces
        .iter()
        .map(|piece| piece.header("content-range").unwrap())
        .collect();
    assert!(
        ranges[0] == "0-8388607" && ranges[1] == "8388608-16777215",
        "{ranges:?}"
    );
}

#[test]
fn an_upload_to_another_host_takes_no_secret_along() {
    let sandbox = Sandbox::bare();
    let storage = Fake::start(&sandbox, |_| Answer::new(201));
    let target = storage.address.clone();
    let (fake, _taken) = start(&sandbox, move |request, _| {
        if request.header("authorization") != Some("Basic bWU6c2VjcmV0") {
            return Some(Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        (request.method == "POST").then(|| {
            Answer::new(202).with("Location", format!("http://{target}/there?signature=s"))
        })
    });
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let auths = format!(
        "{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6c2VjcmV0\"}}}}}}",
        fake.address
    );
    std::fs::write(sandbox.home(".docker/config.json"), auths).unwrap();
    let name = image(&sandbox, &fake, 20_000);
    sandbox.ok(&["push", &name]);
    let seen = storage.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(
            request
                .path
                .starts_with("/there?signature=s&digest=sha256%3A")
        );
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn refusals_of_pushes_are_told_in_dockers_words() {
    let sandbox = Sandbox::bare();
    let errors = |code: &str, message: &str| {
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
    };
    for (method, answer, expected) in [
        (
            "POST",
            Answer::new(401).with("WWW-Authenticate", "Basic realm=\"x\""),
            "no basic auth credentials",
        ),
        (
            "POST",
            Answer::new(403).body(errors(
                "DENIED",
                "requested access to the resource is denied",
            )),
            "denied: requested access to the resource is denied",
        ),
        (
            "POST",
            Answer::new(405).body(errors("UNSUPPORTED", "The operation is unsupported.")),
            "unsupported: The operation is unsupported.",
        ),
        (
            "POST",
            Answer::new(429)
                .body(errors("TOOMANYREQUESTS", "slow down"))
                .with("Retry-After", "0"),
            "toomanyrequests: slow down",
        ),
        (
            "PUT",
            Answer::new(400).body(errors("MANIFEST_INVALID", "manifest invalid")),
            "manifest invalid",
        ),
    ] {
        let (fake, _taken) = start(&sandbox, move |request, _| {
            let is_meant = request.method == method
                && (method == "POST" || request.path.contains("/manifests/"));
            is_meant.then(|| answer.clone())
        });
        let name = image(&sandbox, &fake, 20_000);
        let said = sandbox.fails(1, &["push", &name]);
        assert!(said.contains(expected), "{said}\nlacks {expected}");
        sandbox.ok(&["rmi", &name]);
    }
}
