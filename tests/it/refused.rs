//! Options that have no effect here are refused, and none is passed over in silence.

use crate::sandbox::Sandbox;

#[test]
fn what_this_engine_has_not_is_refused() {
    let sandbox = Sandbox::new();
    let check = |options: &[&str], want: &str| {
        let args = [
            &["run", "--rm", "--network", "none"],
            options,
            &["busybox", "true"],
        ]
        .concat();
        sandbox.aril(&args).fails(125, want);
    };
    check(
        &["--gpus", "all"],
        "could not select device driver \"\" with capabilities: [[gpu]]",
    );
    check(
        &["--storage-opt", "size=1G"],
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    );
    check(
        &["--runtime", "nosuch"],
        "unknown or invalid runtime name: nosuch",
    );
    check(&["--stop-signal", "NOSUCH"], "invalid signal: NOSUCH");
    check(
        &["--isolation", "hyperv"],
        "invalid isolation (hyperv): linux only supports 'default'",
    );
    check(
        &["--log-driver", "nosuch"],
        "error looking up logging plugin nosuch: plugin \"nosuch\" not found",
    );
    check(
        &["--volume-driver", "nosuch", "-v", "vol:/x"],
        "error looking up volume plugin nosuch: plugin \"nosuch\" not found",
    );
}

#[test]
fn networks_have_one_driver_of_addresses() {
    let sandbox = Sandbox::bare();
    let create = ["network", "create", "--ipam-driver"];
    for driver in ["frob", "null"] {
        let error = format!("plugin \"{driver}\" not found");
        let args = [&create[..], &[driver, "net"]].concat();
        sandbox.aril(&args).fails(1, &error);
    }
    sandbox.ok(&[&create[..], &["default", "net"]].concat());
}

#[test]
fn networks_are_what_they_are_asked_to_be_or_not_made() {
    let sandbox = Sandbox::bare();
    for (option, value) in [
        ("gateway_mode_ipv4", "routed"),
        ("gateway_mode_ipv6", "isolated"),
        ("inhibit_ipv4", "true"),
        ("trusted_host_interfaces", "eth0"),
    ] {
        let option = format!("com.docker.network.bridge.{option}");
        let error = format!("{option} cannot be {value:?}: it is not supported");
        let option = format!("{option}={value}");
        let args = ["network", "create", "-o", &option, "net"];
        sandbox.aril(&args).fails(1, &error);
    }
    let nat = "com.docker.network.bridge.gateway_mode_ipv4=nat";
    sandbox.ok(&["network", "create", "-o", nat, "net"]);
}

#[test]
fn what_means_nothing_on_linux_or_here_is_taken() {
    let sandbox = Sandbox::new();
    let takes = |options: &[&str]| {
        let args = [
            &["run", "--rm", "--network", "none"],
            options,
            &["busybox", "true"],
        ]
        .concat();
        sandbox.ok(&args);
    };
    takes(&[
        "--runtime",
        "runc",
        "--isolation",
        "default",
        "--userns",
        "host",
    ]);
    takes(&["--annotation", "a=b", "--device-cgroup-rule", "c 1:3 rwm"]);
    takes(&["--pids-limit", "-1", "--kernel-memory", "64m"]);
}

#[test]
fn create_and_run_have_exit_codes_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox
        .aril(&["create", "--name", "!", "busybox"])
        .fails(1, "Invalid container name (!)");
    sandbox
        .aril(&["run", "--name", "!", "busybox"])
        .fails(125, "Invalid container name (!)");
    sandbox
        .aril(&["create", "--restart", "x:y", "busybox"])
        .fails(125, "maximum retry count must be an integer");
    let error = "failed to create the container ID file";
    sandbox
        .aril(&["create", "--cidfile", "/nosuch/x", "busybox"])
        .fails(1, error);
    sandbox
        .aril(&["run", "--cidfile", "/nosuch/x", "busybox"])
        .fails(127, error);
    sandbox.ok(&["create", "--name", "box", "busybox"]);
    let same = "Renaming a container with the same name as its current name";
    sandbox.aril(&["rename", "box", "box"]).fails(1, same);
    let name = "Error when allocating new name: Invalid container name (/a b)";
    sandbox.aril(&["rename", "box", "a b"]).fails(1, name);
}
