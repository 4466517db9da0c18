//! What holds for every input, however strange. proptest gives some in the tests of this crate, libFuzzer by the targets in
//! `fuzz/`; both come here, so that a property stands once.

use std::path::Component;

use super::seccomp::{self, Architecture, machine};
use super::{devices, mounts, namespaces, options, process};
use crate::cgroup;
use crate::oci::runtime::Spec;
use crate::oci::runtime::linux::{NamespaceKind, Profile, Seccomp};

/// A configuration of any shape is read or refused; what is read is the same once written and read again, and is planned or
/// refused.
pub fn configuration(text: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(text) else {
        return;
    };
    let written = serde_json::to_vec(&spec).expect("what was read can be written");
    let again: Spec = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(spec, again);

    let linux = spec.linux.clone().unwrap_or_default();
    let planned = namespaces::plan(&linux);
    if let Ok(planned) = &planned
        && let Ok(sysctls) = namespaces::sysctls(&linux, planned, &spec.hostname)
    {
        let is_plain = |path: &str| path.split('/').all(|part| !["", ".", ".."].contains(&part));
        assert!(sysctls.iter().all(|sysctl| is_plain(&sysctl.path)));
    }
    for maps in [&linux.uid_mappings, &linux.gid_mappings] {
        for id in [0, 1, u32::MAX] {
            let _ = namespaces::host_id(maps, id);
        }
    }
    if let Some(document) = &spec.process {
        let around = process::Surroundings {
            personality: linux.personality.as_ref(),
            memory_policy: linux.memory_policy.as_ref(),
            in_userns: planned.is_ok_and(|planned| planned.has(NamespaceKind::User)),
            ..process::Surroundings::default()
        };
        drop(process::plan(document, around));
    }
    if let Some(Ok(profile)) = linux.seccomp.as_ref().map(Profile::read) {
        filter(&profile);
    }
    drop(devices::plan(&linux));
    for mount in &spec.mounts {
        mount_options(&mount.options);
        if let Ok(destination) = mounts::destination(&mount.destination) {
            let is_plain = |c| matches!(c, Component::RootDir | Component::Normal(_));
            assert!(destination.is_absolute() && destination.components().all(is_plain));
        }
    }
    if let Some(resources) = &linux.resources {
        cgroup::plan_everything(resources);
    }
}

/// A profile of any shape is read or refused, and what is compiled is a program that the kernel takes and that ends.
pub fn seccomp_profile(text: &[u8]) {
    if let Ok(profile) = serde_json::from_slice(text) {
        filter(&profile);
    }
}

fn filter(profile: &Seccomp) {
    for native in [
        Architecture::X86_64,
        Architecture::Aarch64,
        Architecture::Riscv64,
    ] {
        let Ok(filter) = seccomp::compile(profile, native) else {
            continue;
        };
        machine::check(&filter.program).expect("the kernel takes what was compiled");
        for number in [0, 59, 1000, 0x4000_0000, u32::MAX] {
            for audit in [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0] {
                let arguments = [0, 1, u64::MAX, 1 << 32, 7, 0xffff_ffff];
                let call = machine::Call {
                    audit,
                    number,
                    arguments,
                };
                machine::run(&filter.program, &call);
            }
        }
    }
}

/// Whatever the options of a mount are, they end up in one place each, and no bit is set and cleared at once.
pub fn mount_options(list: &[String]) {
    let Ok(parsed) = options::parse(list) else {
        assert!(list.iter().any(|option| option.contains('\0')));
        return;
    };
    for change in [parsed.attributes, parsed.recursive] {
        // The kinds of access times are one number: all of it is cleared before one is set.
        assert_eq!(change.set & change.clear & !libc::MOUNT_ATTR__ATIME, 0);
    }
    assert!(parsed.data.iter().all(|option| list.contains(option)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    fn json() -> impl Strategy<Value = Value> {
        let keys = "args|env|cwd|user|uid|gid|umask|capabilities|bounding|rlimits|type|hard|soft|path|namespaces|linux|mounts\
                    |destination|options|uidMappings|size|sysctl|resources|memory|limit|hooks|prestart|root|[a-z]{1,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "\\PC{0,6}|/[a-z/]{0,6}|CAP_[A-Z]{0,4}|pid|mount|RLIMIT_CPU".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
            let map = prop::collection::btree_map(keys, inner, 0..6);
            prop_oneof![
                list,
                map.prop_map(|map| Value::Object(map.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn configurations_are_read_or_refused(value in json()) {
            super::configuration(value.to_string().as_bytes());
        }

        /// A document inside of the right place gets further.
        #[test]
        fn processes_and_linux_are_read_or_refused(process in json(), linux in json(), mounts in json()) {
            let spec = serde_json::json!({"process": process, "linux": linux, "mounts": mounts});
            super::configuration(spec.to_string().as_bytes());
        }
    }
}
