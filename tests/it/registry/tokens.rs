//! Registries whose tokens another server gives: which one is asked for, with what, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fake::{Answer, Fake, Image, Seen};
use crate::sandbox::Sandbox;

/// `me:secret`
const BASIC: &str = "Basic bWU6c2VjcmV0";

/// Tells how the registry wants to be spoken to.
fn challenge(request: &Seen, more: &str) -> Answer {
    let host = request.header("host").unwrap_or_default();
    Answer::new(401)
        .with("WWW-Authenticate", "Negotiate")
        .with(
            "WWW-Authenticate",
            format!("Basic realm=\"a, b\", Bearer realm=\"http://{host}/token?kept=1\",service=\"a registry\"{more}"),
        )
}

/// Keeps who is known in the user's config.json.
fn know(sandbox: &Sandbox, address: &str, entry: &str) {
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    let text = format!("{{\"auths\": {{\"{address}\": {entry}}}}}");
    std::fs::write(sandbox.home(".docker/config.json"), text).unwrap();
}

#[test]
fn a_password_is_shown_to_the_token_server_alone() {
    let sandbox = Sandbox::bare();
    let image = Image::of(&[1000, 2000]);
    let fake = Fake::start(&sandbox, move |request| {
        if request.path.starts_with("/token") {
            return match request.header("authorization") {
                Some(BASIC) => Answer::new(200).body(r#"{"access_token":"good","expires_in":5}"#),
                Some(_) => Answer::new(401).body(r#"{"details":"incorrect username or password"}"#),
                None => Answer::new(200).body(r#"{"token":"anonymous"}"#),
            };
        }
        match request.header("authorization") {
            Some("Bearer good") => image.answer(request),
            Some(_) => challenge(request, ",error=\"insufficient_scope\""),
            None => challenge(request, ""),
        }
    });
    let name = format!("{}/team/x", fake.address);
    let said = sandbox.fails(1, &["pull", &name]);
    let denied = format!("pull access denied for {name}, repository does not exist or may require");
    assert!(
        said.contains(&denied) || said.contains("unauthorized: authentication required"),
        "{said}"
    );
    let asked = fake.asked("GET", "/token");
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    know(&sandbox, &fake.address, r#"{"auth": "bWU6c2VjcmV0"}"#);
    let before = fake.seen().len();
    sandbox.ok(&["pull", &name]);
    let seen = fake.seen().split_off(before);
    let tokens: Vec<&Seen> = seen
        .iter()
        .filter(|request| request.path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 1, "a token is asked for once: {tokens:?}");
    assert_eq!(
        tokens[0].path,
        "/token?kept=1&service=a%20registry&scope=repository%3Ateam%2Fx%3Apull&account=me"
    );
    for request in seen
        .iter()
        .filter(|request| request.path.starts_with("/v2/"))
    {
        assert_ne!(request.header("authorization"), Some(BASIC));
    }
    know(&sandbox, &fake.address, r#"{"auth": "bWU6d3Jvbmc="}"#);
    let said = sandbox.fails(1, &["pull", &name]);
    assert!(said.contains("incorrect username or password"), "{said}");
}

#[test]
fn tokens_that_are_not_enough_are_replaced() {
    let sandbox = Sandbox::bare();
    let image = Image::of(&[1000]);
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let fake = Fake::start(&sandbox, move |request| {
        if request.path.starts_with("/token") {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            return Answer::new(200).body(format!("{{\"token\":\"number {number}\"}}"));
        }
        match request.header("authorization") {
            None => challenge(request, ""),
            // It wants more than what everybody asks for.
            Some("Bearer number 0") => challenge(
                request,
                ",scope=\"repository:base:pull repository:x:pull\",error=\"insufficient_scope\"",
            ),
            // The second one ends between the manifest and the blobs.
            Some("Bearer number 1") if request.path.contains("/blobs/") => {
                challenge(request, ",error=\"invalid_token\"")
            }
            Some(_) => image.answer(request),
        }
    });
    sandbox.ok(&["pull", &format!("{}/x", fake.address)]);
    let paths: Vec<String> = fake
        .asked("GET", "/token")
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        paths[0].ends_with("&scope=repository%3Ax%3Apull"),
        "{paths:?}"
    );
    assert!(
        paths[1].ends_with("&scope=repository%3Abase%3Apull&scope=repository%3Ax%3Apull"),
        "{paths:?}"
    );
    assert!(paths.len() <= 4, "{paths:?}");
}

#[test]
fn a_registry_that_never_has_enough_is_given_up() {
    let sandbox = Sandbox::bare();
    let fake = Fake::start(&sandbox, move |request| {
        if request.path.starts_with("/token") {
            return Answer::new(200).body(r#"{"token":"t"}"#);
        }
        challenge(request, ",error=\"invalid_token\"")
    });
    sandbox.fails(1, &["pull", &format!("{}/x", fake.address)]);
    assert!(fake.seen().len() <= 16, "{:?}", fake.seen().len());
}

/// A registry that gives a token to be kept in the place of the password.
fn with_refresh(sandbox: &Sandbox, image: Image, knows_post: bool) -> Fake {
    Fake::start(sandbox, move |request| {
        let sent = request.header("authorization");
        if request.path.starts_with("/token") {
            let is_login = request.path.contains("offline_token=true");
            return match (request.method.as_str(), sent) {
                ("GET", Some(BASIC)) if is_login => {
                    Answer::new(200).body(r#"{"token":"good","refresh_token":"kept/token"}"#)
                }
                // `:kept/token`
                ("GET", Some("Basic OmtlcHQvdG9rZW4=")) if !knows_post => {
                    Answer::new(200).body(r#"{"token":"good"}"#)
                }
                ("POST", None) if knows_post => {
                    let form = String::from_utf8_lossy(&request.body);
                    let is_known = form.contains("grant_type=refresh_token")
                        && form.contains("refresh_token=kept%2Ftoken")
                        && form.contains("service=a%20registry");
                    Answer::new(if is_known { 200 } else { 401 }).body(r#"{"access_token":"good"}"#)
                }
                ("POST", _) => Answer::new(405),
                _ => Answer::new(401).body(r#"{"details":"incorrect username or password"}"#),
            };
        }
        match sent {
            Some("Bearer good") if request.path == "/v2/" => Answer::new(200).body("{}"),
            Some("Bearer good") => image.answer(request),
            _ => challenge(request, ""),
        }
    })
}

#[test]
fn a_login_keeps_the_token_that_is_given_for_the_password() {
    for knows_post in [true, false] {
        let sandbox = Sandbox::bare();
        let fake = with_refresh(&sandbox, Image::of(&[1000]), knows_post);
        let login = |password: &str| {
            let args = ["login", "-u", "me", "--password-stdin", &fake.address];
            sandbox.feed(&args, password.as_bytes())
        };
        let ran = login("other");
        ran.fails(1, "incorrect username or password");
        assert_eq!(login("secret").ok(), "Login Succeeded");
        let text = std::fs::read_to_string(sandbox.home(".docker/config.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        // As docker's client writes it: the name and no password, and the token.
        let entry = &kept["auths"][&fake.address];
        assert_eq!(
            *entry,
            serde_json::json!({"auth": "bWU6", "identitytoken": "kept/token"}),
            "{text}"
        );
        sandbox.ok(&["pull", "-q", &format!("{}/x", fake.address)]);
        let posts = fake.asked("POST", "/token");
        assert!(!posts.is_empty());
        for post in posts {
            let form = String::from_utf8_lossy(&post.body).into_owned();
            assert!(form.contains("scope=repository%3Ax%3Apull"), "{form}");
            assert_eq!(post.header("authorization"), None);
        }
    }
}
