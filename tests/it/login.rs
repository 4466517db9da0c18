//! `aril login` and `aril logout`.

use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::Sandbox;
use crate::site::{Reply, Site};

/// `me:secret`
const BASIC: &str = "Basic bWU6c2VjcmV0";

/// A registry that knows one user.
fn registry(sandbox: &Sandbox) -> Site {
    Site::new(sandbox, |head| {
        let sent = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        if sent == Some(BASIC) {
            Reply::new(200, "{}")
        } else {
            Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"test\"")
        }
    })
}

#[test]
fn a_password_is_tried_kept_and_forgotten() {
    let sandbox = Sandbox::bare();
    let site = registry(&sandbox);
    let address = site.address.to_string();
    let login = ["login", "-u", "me", "--password-stdin", &address];
    let ran = sandbox.feed(&login, b"secret\n");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "Login Succeeded\n"),
        "{ran:?}"
    );
    assert!(ran.err.contains("stored unencrypted"), "{ran:?}");
    let file = sandbox.home(".docker/config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&format!("\"{address}\"")) && text.contains("bWU6c2VjcmV0"),
        "{text}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // What is kept is enough the next time.
    let ran = sandbox.aril(&["login", &address]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "Login Succeeded\n"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("Authenticating with existing credentials"),
        "{ran:?}"
    );
    assert_eq!(
        sandbox.ok(&["logout", &address]),
        format!("Removing login credentials for {address}")
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("bWU6c2VjcmV0"), "{text}");
}

#[test]
fn a_wrong_password_is_refused_and_not_kept() {
    let sandbox = Sandbox::bare();
    let site = registry(&sandbox);
    let address = site.address.to_string();
    let ran = sandbox.aril(&["login", "-u", "me", "-p", "wrong", &address]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err
            .contains("WARNING! Using --password via the CLI is insecure. Use --password-stdin."),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("401") && !ran.err.contains("wrong"),
        "{ran:?}"
    );
    assert!(!sandbox.home(".docker/config.json").exists());
    sandbox.aril(&["login", "-u", "me", &address]).fails(
        1,
        "Cannot perform an interactive login from a non TTY device",
    );
    sandbox
        .aril(&["login", "--password-stdin", &address])
        .fails(
            1,
            "the --password-stdin option requires --username to be set",
        );
    for (options, why) in [
        (
            &["-u", "me", "-p", "x", "--password-stdin"][..],
            "conflicting options: cannot specify both --password and --password-stdin",
        ),
        (&["-u", ""], "username is empty"),
        (&["-u", "me", "-p", ""], "password is empty"),
        (&["-u", "me", "--password-stdin"], "non TTY device"),
    ] {
        let mut args = vec!["login"];
        args.extend(options);
        args.push(&address);
        sandbox.feed(&args, b"").fails(1, why);
    }
}

#[test]
fn a_password_is_typed_without_being_shown() {
    let sandbox = Sandbox::bare();
    let site = registry(&sandbox);
    let address = site.address.to_string();
    let mut terminal = sandbox.terminal(&["login", &address]);
    terminal.expect("Username: ");
    terminal.send("me\n");
    terminal.expect("Password: ");
    terminal.send("secrex\x7ft\n");
    terminal.expect("Login Succeeded");
    let (code, text) = terminal.wait();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("secre"), "{text}");
}

#[test]
fn a_helper_keeps_what_it_is_given() {
    let sandbox = Sandbox::bare();
    let site = registry(&sandbox);
    let address = site.address.to_string();
    let script = "#!/bin/sh\ncase $1 in\nget) read -r key; [ -f \"$HOME/kept\" ] || { echo credentials not found in native keychain; exit 1; }; cat \"$HOME/kept\" ;;\nstore) cat > \"$HOME/kept\" ;;\nerase) rm -f \"$HOME/kept\" ;;\nesac\n";
    let helper = sandbox.write("bin/docker-credential-test", script);
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(sandbox.home(".docker")).unwrap();
    std::fs::write(
        sandbox.home(".docker/config.json"),
        "{\"credsStore\": \"test\", \"mine\": 1}",
    )
    .unwrap();
    let run = |args: &[&str]| {
        let mut command = sandbox.aril_command(args);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", sandbox.path("bin").display()));
        sandbox.run(command)
    };
    let ran = run(&["login", "-u", "me", "-p", "secret", &address]);
    assert_eq!(ran.out, "Login Succeeded\n", "{ran:?}");
    assert!(!ran.err.contains("unencrypted"), "{ran:?}");
    let kept = std::fs::read_to_string(sandbox.home("kept")).unwrap();
    assert!(kept.contains("\"Secret\":\"secret\""), "{kept}");
    let text = std::fs::read_to_string(sandbox.home(".docker/config.json")).unwrap();
    assert!(
        text.contains("\"mine\": 1") && !text.contains("bWU6"),
        "{text}"
    );
    assert_eq!(run(&["login", &address]).out, "Login Succeeded\n");
    run(&["logout", &address]).ok();
    assert!(!sandbox.home("kept").exists());
}

#[test]
fn logout_of_a_stranger_is_no_error() {
    let sandbox = Sandbox::bare();
    assert_eq!(
        sandbox.ok(&["logout", "localhost:1"]),
        "Removing login credentials for localhost:1"
    );
    assert_eq!(
        sandbox.ok(&["logout"]),
        "Removing login credentials for https://index.docker.io/v1/"
    );
    assert!(!sandbox.home(".docker").exists());
}

#[test]
fn whoever_is_not_root_may_log_in_too() {
    const NOBODY: u32 = 65534;
    let sandbox = Sandbox::bare();
    let site = registry(&sandbox);
    let address = site.address.to_string();
    // Where it was built nobody else may look.
    let program = sandbox.path("aril");
    std::fs::copy(crate::sandbox::ARIL, &program).unwrap();
    std::os::unix::fs::chown(sandbox.home(""), Some(NOBODY), Some(NOBODY)).unwrap();
    let run = |args: &[&str], input: &[u8]| {
        let mut command = sandbox.command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(args)
            .env("ARIL_ROOT", "/nosuch/root");
        sandbox.start(command).feed_and_end(input)
    };
    let login = ["login", "-u", "me", "--password-stdin", &address];
    assert_eq!(run(&login, b"secret\n").ok(), "Login Succeeded");
    let file = sandbox.home(".docker/config.json");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&file.metadata().unwrap()),
        NOBODY
    );
    assert_eq!(run(&["login", &address], b"").ok(), "Login Succeeded");
    // It is asked with what is known of the user.
    run(&["search", &format!("{address}/x")], b"").ok();
    run(&["mirror", "test"], b"").fails(1, "");
    run(&["pull", &format!("{address}/x")], b"").fails(1, "need root");
    run(&["logout", &address], b"").ok();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("bWU6c2VjcmV0"), "{text}");
}
