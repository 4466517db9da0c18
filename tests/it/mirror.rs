//! `aril mirror test`.

use crate::sandbox::Sandbox;
use crate::site::{Reply, Site};

#[test]
fn each_mirror_says_what_it_is_worth() {
    let sandbox = Sandbox::bare();
    let full = Site::new(&sandbox, |_| {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        Reply::new(200, "")
            .with("Docker-Content-Digest", digest)
            .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
    });
    let empty = Site::new(&sandbox, |head| {
        Reply::new(
            if head.contains("/manifests/") {
                404
            } else {
                200
            },
            "{}",
        )
    });
    let page = Site::new(&sandbox, |_| Reply::new(404, "<html>"));
    let urls =
        [full.address, empty.address, page.address].map(|address| format!("\"http://{address}\""));
    sandbox.configure(&format!(
        "{{\"registry-mirrors\": [{}, \"http://127.0.0.1:1\"]}}",
        urls.join(", ")
    ));
    let ran = sandbox.aril(&[
        "mirror",
        "test",
        "--format",
        "{{.Address}}|{{.Answers}}|{{.Note}}",
    ]);
    // Docker Hub is not reached from here.
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], format!("http://{}|yes|", full.address), "{ran:?}");
    assert_eq!(
        lines[1],
        format!(
            "http://{}|yes|it does not have busybox:latest",
            empty.address
        ),
        "{ran:?}"
    );
    assert!(
        lines[2].starts_with(&format!(
            "http://{}|no|it answers, but not as a registry",
            page.address
        )),
        "{ran:?}"
    );
    assert!(
        lines[3].starts_with("http://127.0.0.1:1|no|") && lines[3].contains("connection refused"),
        "{ran:?}"
    );
    assert!(
        lines[4].starts_with("https://registry-1.docker.io|no|the registry itself; "),
        "{ran:?}"
    );
}

#[test]
fn credentials_of_the_hub_stay_there() {
    let sandbox = Sandbox::bare();
    let mirror = Site::new(&sandbox, |_| {
        Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"test\"")
    });
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let auths = "{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"bWU6c2VjcmV0\"}}}";
    std::fs::write(sandbox.home(".docker/config.json"), auths).unwrap();
    sandbox.configure(&format!(
        "{{\"registry-mirrors\": [\"http://{}\"]}}",
        mirror.address
    ));
    sandbox.aril(&["mirror", "test"]);
    let asked = mirror.asked();
    assert!(!asked.is_empty());
    assert!(
        !asked.concat().to_lowercase().contains("authorization"),
        "{asked:?}"
    );
}
