//! Which keys of daemon.json there are, and what becomes of each.
//!
//! dockerd does not start with a key that it does not know. Here an unknown key is a warning, so that a file that works
//! with a newer docker works here too; only what a file asks for *against* somebody (another user namespace, a plugin that
//! must allow each request) is never passed over in silence.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It has docker's effect.
    Honoured,
    /// It is about a daemon's process or another host's; there is nothing that it could change here.
    Pointless,
    /// It would change something here, and does not; the reason.
    Ignored(&'static str),
    /// Passing over it would leave containers less isolated than the file says; the reason.
    Refused(&'static str),
}

use Treatment::{Honoured, Ignored, Pointless, Refused};

/// All keys of dockerd 28, sorted.
const KEYS: &[(&str, Treatment)] = &[
    (
        "allow-direct-routing",
        Ignored("only published ports are reached from outside"),
    ),
    ("allow-nondistributable-artifacts", Pointless),
    ("api-cors-header", Pointless),
    (
        "authorization-plugins",
        Refused("there are no plugins that could be asked for permission"),
    ),
    ("bip", Honoured),
    ("bip6", Honoured),
    (
        "bridge",
        Refused("the default network has a bridge of its own"),
    ),
    ("bridge-accept-fwmark", Ignored("no mark is looked at")),
    ("builder", Pointless),
    ("cdi-spec-dirs", Ignored("devices are not looked up by CDI")),
    ("cgroup-parent", Honoured),
    ("cluster-advertise", Pointless),
    ("cluster-store", Pointless),
    ("cluster-store-opts", Pointless),
    ("containerd", Pointless),
    ("containerd-namespace", Pointless),
    ("containerd-plugin-namespace", Pointless),
    ("cri-containerd", Pointless),
    ("data-root", Honoured),
    ("debug", Pointless),
    ("default-address-pools", Honoured),
    ("default-cgroupns-mode", Honoured),
    ("default-gateway", Honoured),
    ("default-gateway-v6", Honoured),
    ("default-ipc-mode", Honoured),
    ("default-network-opts", Honoured),
    ("default-runtime", Pointless),
    ("default-shm-size", Honoured),
    ("default-ulimits", Honoured),
    ("dns", Honoured),
    ("dns-opts", Honoured),
    ("dns-search", Honoured),
    ("exec-opts", Honoured),
    ("exec-root", Pointless),
    ("experimental", Pointless),
    ("features", Pointless),
    ("firewall-backend", Pointless),
    ("fixed-cidr", Honoured),
    ("fixed-cidr-v6", Honoured),
    ("graph", Honoured),
    ("group", Pointless),
    ("host-gateway-ip", Honoured),
    ("host-gateway-ips", Honoured),
    ("hosts", Pointless),
    ("icc", Honoured),
    ("init", Honoured),
    ("init-path", Ignored("the init is built in")),
    ("insecure-registries", Honoured),
    ("ip", Honoured),
    ("ip-forward", Honoured),
    (
        "ip-forward-no-drop",
        Ignored("what the host forwards otherwise is left to its own rules"),
    ),
    ("ip-masq", Honoured),
    (
        "ip6tables",
        Ignored("rules are made for both families, or with \"iptables\": false for none"),
    ),
    ("iptables", Honoured),
    ("ipv6", Honoured),
    ("labels", Honoured),
    ("live-restore", Pointless),
    ("log-driver", Honoured),
    ("log-format", Pointless),
    ("log-level", Pointless),
    ("log-opts", Honoured),
    ("max-concurrent-downloads", Honoured),
    ("max-concurrent-uploads", Honoured),
    ("max-download-attempts", Honoured),
    ("metrics-addr", Pointless),
    ("min-api-version", Pointless),
    ("mtu", Honoured),
    ("network-control-plane-mtu", Pointless),
    ("no-new-privileges", Honoured),
    ("node-generic-resources", Pointless),
    ("oom-score-adjust", Pointless),
    ("pidfile", Pointless),
    ("proxies", Honoured),
    ("raw-logs", Pointless),
    ("registry-mirrors", Honoured),
    ("rootless", Pointless),
    ("runtimes", Ignored("aril is its own runtime")),
    ("seccomp-profile", Honoured),
    (
        "selinux-enabled",
        Refused("containers do not get SELinux labels"),
    ),
    ("shutdown-timeout", Pointless),
    ("storage-driver", Honoured),
    (
        "storage-opts",
        Ignored("the options are those of docker's storage drivers"),
    ),
    ("swarm-default-advertise-addr", Pointless),
    ("tls", Pointless),
    ("tlscacert", Pointless),
    ("tlscert", Pointless),
    ("tlskey", Pointless),
    ("tlsverify", Pointless),
    ("userland-proxy", Honoured),
    (
        "userland-proxy-path",
        Ignored("ports are published without a program of docker's"),
    ),
    (
        "userns-remap",
        Refused("containers do not get a user namespace of their own"),
    ),
    ("validate", Pointless),
];

/// Returns what a switch is where the file does not name it.
pub fn is_on_by_default(key: &str) -> bool {
    matches!(key, "ip-forward" | "ip6tables" | "userland-proxy")
}

/// Returns what becomes of a key; nothing if no such key is known.
pub fn treatment(key: &str) -> Option<Treatment> {
    let found = KEYS.binary_search_by(|(name, _)| (*name).cmp(key)).ok()?;
    Some(KEYS[found].1)
}

/// Returns the key that somebody who wrote `key` may have meant.
pub fn nearest(key: &str) -> Option<&'static str> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(key);
    let singular = |text: &str| text.strip_suffix('s').unwrap_or(text).to_owned();
    let same = |name: &&(&str, Treatment)| singular(&plain(name.0)) == singular(&wanted);
    KEYS.iter().find(same).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_found() {
        assert!(KEYS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(treatment("registry-mirrors"), Some(Honoured));
        assert_eq!(treatment("hosts"), Some(Pointless));
        assert!(matches!(treatment("userns-remap"), Some(Refused(_))));
        assert_eq!(treatment("registry-mirror"), None);
    }

    #[test]
    fn near_keys_are_suggested() {
        for (key, want) in [
            ("registry-mirror", Some("registry-mirrors")),
            ("registry_mirrors", Some("registry-mirrors")),
            ("registryMirrors", Some("registry-mirrors")),
            ("insecure-registry", None),
            ("Log-Driver", Some("log-driver")),
            ("log-opt", Some("log-opts")),
            ("frob", None),
        ] {
            assert_eq!(nearest(key), want, "{key}");
        }
    }
}
