//! What docker has for several machines: answered as by an engine that is alone.

use crate::sandbox::Sandbox;

#[test]
fn there_is_one_context_no_plugin_and_no_swarm() {
    let sandbox = Sandbox::bare();
    assert_eq!(sandbox.ok(&["context", "show"]), "default");
    assert_eq!(sandbox.ok(&["context", "ls", "-q"]), "default");
    let table = sandbox.ok(&["context", "ls"]);
    assert!(
        table.starts_with("NAME        DESCRIPTION ") && table.contains("default *   Current"),
        "{table}"
    );
    let host = "{{.Endpoints.docker.Host}}";
    assert!(
        sandbox
            .ok(&["context", "inspect", "-f", host])
            .starts_with("unix://")
    );
    assert_eq!(sandbox.ok(&["context", "use", "default"]), "default");
    sandbox
        .aril(&["context", "use", "other"])
        .fails(1, "context \"other\": context not found");
    sandbox
        .aril(&["context", "rm", "default"])
        .fails(1, "context \"default\" cannot be removed");
    assert_eq!(
        sandbox.ok(&["plugin", "ls"]),
        "ID        NAME      DESCRIPTION   ENABLED"
    );
    for group in ["context", "plugin", "swarm", "node", "stack"] {
        let usage = format!("Usage:  aril {group} COMMAND");
        assert_eq!(sandbox.ok(&[group]), usage);
    }
    sandbox.aril(&["checkpoint", "ls", "box"]).fails(
        1,
        "aril checkpoint ls is only supported on a Docker daemon with experimental features enabled",
    );
    for command in ["node", "service", "stack", "secret", "config"] {
        sandbox
            .aril(&[command, "ls", "-q"])
            .fails(1, "This node is not a swarm manager.");
    }
    sandbox
        .aril(&["swarm", "leave"])
        .fails(1, "This node is not part of a swarm");
}
