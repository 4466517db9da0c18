//! Seccomp profiles as docker understands them: its default, and the file of `--security-opt seccomp=FILE`.
//!
//! Docker's format is that of runtime-spec with conditions on each rule (capabilities, architecture, kernel) and a map of
//! sub-architectures; resolved for a container it becomes the runtime-spec's. The filter itself is the runtime's matter.

use serde::Deserialize;

use anyhow::{Context as _, Result, bail};

use crate::error;
use crate::oci::null_default;
use crate::oci::runtime::linux::{Seccomp, SeccompArgument, SeccompRule};

/// What the conditions of a profile look at.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The container's bounding set, by names such as `CAP_CHOWN`.
    pub capabilities: &'a [String],
    /// Architecture as `std::env::consts::ARCH` names it.
    pub arch: &'a str,
    /// Kernel release, `6.1.0-18-amd64`.
    pub kernel: &'a str,
}

/// Calls that every container may make.
const ALWAYS: &str = "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 \
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 \
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 \
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait \
    futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid \
    getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom \
    getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt \
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init \
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 \
    ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self \
    lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek \
    lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod \
    mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync \
    munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv \
    preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 \
    pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg \
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop \
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid \
    setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid \
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid \
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask \
    sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync \
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat \
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Calls of some architectures only.
const BY_ARCHITECTURE: [(&str, &str); 4] = [
    ("x86_64", "arch_prctl modify_ldt"),
    ("x86", "modify_ldt"),
    (
        "aarch64",
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    ("riscv64", "riscv_flush_icache"),
];

/// Calls that a capability unlocks.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    (
        "CAP_SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// The flags of clone(2) that make a namespace.
const NAMESPACE_FLAGS: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Returns docker's default profile for a container with these capabilities (its bounding set).
///
/// Everything that it does not list fails with EPERM. Among what it keeps from a container without CAP_SYS_ADMIN are new
/// user namespaces, by `unshare` and by `clone`; `clone3`, whose flags a filter cannot see, is "not implemented", so that
/// libraries fall back on `clone`. `arch` is the architecture as `std::env::consts::ARCH` names it.
pub fn default_profile(capabilities: &[String], arch: &str) -> Seccomp {
    let has = |capability: &str| capabilities.iter().any(|c| c == capability);
    let mut syscalls = vec![allow(ALWAYS)];
    for (of, names) in BY_ARCHITECTURE {
        if of == arch {
            syscalls.push(allow(names));
        }
    }
    for (capability, names) in BY_CAPABILITY {
        if has(capability) {
            syscalls.push(allow(names));
        }
    }
    // AF_VSOCK reaches the hypervisor; AF_ALG is 38, two below it, and has had more holes than users.
    let af_alg = 38;
    let af_vsock = 40;
    for (op, value) in [
        ("SCMP_CMP_LT", af_alg),
        ("SCMP_CMP_EQ", af_alg + 1),
        ("SCMP_CMP_GT", af_vsock),
    ] {
        syscalls.push(allow_if("socket", op, value));
    }
    // PER_LINUX, PER_LINUX32, UNAME26, both, and "what is it?".
    for value in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        syscalls.push(allow_if("personality", "SCMP_CMP_EQ", value));
    }
    if !has("CAP_SYS_ADMIN") {
        let flags = u64::from(NAMESPACE_FLAGS.cast_unsigned());
        syscalls.push(allow_if("clone", "SCMP_CMP_MASKED_EQ", flags));
        syscalls.push(SeccompRule {
            names: vec!["clone3".to_owned()],
            action: "SCMP_ACT_ERRNO".to_owned(),
            errno_ret: Some(libc::ENOSYS.cast_unsigned()),
            args: Vec::new(),
        });
    }
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(libc::EPERM.cast_unsigned()),
        architectures: architectures(arch),
        syscalls,
        ..Seccomp::default()
    }
}

/// The architecture and those whose programs its kernel runs.
fn architectures(arch: &str) -> Vec<String> {
    let names: &[&str] = match arch {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        // The runtime adds the native one.
        _ => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn allow(names: &str) -> SeccompRule {
    SeccompRule {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        ..SeccompRule::default()
    }
}

fn allow_if(name: &str, op: &str, value: u64) -> SeccompRule {
    SeccompRule {
        args: vec![SeccompArgument {
            index: 0,
            value,
            value_two: 0,
            op: op.to_owned(),
        }],
        ..allow(name)
    }
}

/// The document of a profile.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(flatten)]
    common: Seccomp,
    #[serde(default, deserialize_with = "null_default")]
    arch_map: Vec<ArchitectureMap>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArchitectureMap {
    architecture: String,
    #[serde(deserialize_with = "null_default")]
    sub_architectures: Vec<String>,
}

/// What a rule of docker's has besides that of the runtime-spec.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    /// One name, in old profiles.
    name: String,
    #[serde(deserialize_with = "null_default")]
    includes: Filter,
    #[serde(deserialize_with = "null_default")]
    excludes: Filter,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    #[serde(deserialize_with = "null_default")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    arches: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    min_kernel: String,
}

/// Reads a profile in docker's format and resolves its conditions; nothing if it asks for nothing.
///
/// A profile of the runtime-spec is one of docker's, too. Fails with `Invalid`.
pub fn parse_profile(json: &str, conditions: Conditions<'_>) -> Result<Option<Seccomp>> {
    let invalid = |error: serde_json::Error| {
        error::invalid(format!("Decoding seccomp profile failed: {error}"))
    };
    let mut document: serde_json::Value = serde_json::from_str(json).map_err(invalid)?;
    // Go writes null for what is empty.
    let rules = document
        .get_mut("syscalls")
        .map(serde_json::Value::take)
        .and_then(|rules| match rules {
            serde_json::Value::Array(rules) => Some(rules),
            _ => None,
        })
        .unwrap_or_default();
    let profile: Profile = serde_json::from_value(document).map_err(invalid)?;
    let mut seccomp = profile.common;
    if seccomp.default_action.is_empty() && rules.is_empty() {
        return Ok(None);
    }
    if !seccomp.architectures.is_empty() && !profile.arch_map.is_empty() {
        bail!(error::invalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or \
             'archMap'"
        ));
    }
    let native = architectures(conditions.arch);
    let mapped = profile
        .arch_map
        .into_iter()
        .find(|map| native.first() == Some(&map.architecture));
    if let Some(map) = mapped {
        seccomp.architectures.push(map.architecture);
        seccomp.architectures.extend(map.sub_architectures);
    }
    for value in rules {
        let rule: Rule = serde_json::from_value(value.clone()).map_err(invalid)?;
        let mut common: SeccompRule = serde_json::from_value(value).map_err(invalid)?;
        if !rule.name.is_empty() {
            if !common.names.is_empty() {
                bail!(error::invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
                ));
            }
            common.names = vec![rule.name];
        }
        if applies(&rule.includes, &rule.excludes, conditions)? {
            seccomp.syscalls.push(common);
        }
    }
    Ok(Some(seccomp))
}

/// A rule applies if nothing excludes it and everything that it is included for is there.
fn applies(includes: &Filter, excludes: &Filter, conditions: Conditions<'_>) -> Result<bool> {
    // As Go names them.
    let arch = match conditions.arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let has = |capability: &String| conditions.capabilities.contains(capability);
    let is_here = |arches: &[String]| arches.iter().any(|a| a == arch);
    let kernel = |wanted: &str| at_least(conditions.kernel, wanted);
    let excluded = is_here(&excludes.arches)
        || excludes.caps.iter().any(has)
        || (!excludes.min_kernel.is_empty() && kernel(&excludes.min_kernel)?);
    Ok(!excluded
        && (includes.arches.is_empty() || is_here(&includes.arches))
        && includes.caps.iter().all(has)
        && (includes.min_kernel.is_empty() || kernel(&includes.min_kernel)?))
}

/// Whether kernel `release` is of version `wanted` ("4.8") or newer; what follows the second number does not count.
fn at_least(release: &str, wanted: &str) -> Result<bool> {
    let version = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.splitn(3, |c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    let wanted = version(wanted).ok_or_else(|| {
        error::invalid(format!(
            "invalid kernel version: {wanted:?}, expected \"<kernel>.<major>\""
        ))
    })?;
    let release =
        version(release).with_context(|| format!("read the kernel version of {release:?}"))?;
    Ok(release >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(seccomp: &Seccomp, action: &str) -> Vec<String> {
        seccomp
            .syscalls
            .iter()
            .filter(|rule| rule.action == action && rule.args.is_empty())
            .flat_map(|rule| rule.names.clone())
            .collect()
    }

    #[test]
    fn capabilities_unlock_calls() {
        let plain = default_profile(&[], "x86_64");
        let allowed = names(&plain, "SCMP_ACT_ALLOW");
        for name in [
            "unshare", "mount", "setns", "clone", "clone3", "reboot", "keyctl", "chroot",
        ] {
            assert!(!allowed.contains(&name.to_owned()), "{name}");
        }
        for name in ["read", "execve", "ptrace", "arch_prctl", "mseal"] {
            assert!(allowed.contains(&name.to_owned()), "{name}");
        }
        assert_eq!(names(&plain, "SCMP_ACT_ERRNO"), ["clone3"]);
        let admin = default_profile(&["CAP_SYS_ADMIN".into(), "CAP_SYS_CHROOT".into()], "x86_64");
        let allowed = names(&admin, "SCMP_ACT_ALLOW");
        for name in ["unshare", "mount", "clone", "clone3", "chroot"] {
            assert!(allowed.contains(&name.to_owned()), "{name}");
        }
        assert!(names(&admin, "SCMP_ACT_ERRNO").is_empty());
    }

    #[test]
    fn no_call_is_listed_twice() {
        let mut all: Vec<&str> = ALWAYS.split_whitespace().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    const CONDITIONS: Conditions<'static> = Conditions {
        capabilities: &[],
        arch: "x86_64",
        kernel: "6.1.0-18-amd64",
    };

    #[test]
    fn conditions_are_resolved() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
            "archMap":[{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
                       {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{},"excludes":null,"args":null},
                        {"name":"b","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
                        {"names":["c"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.2"}},
                        {"names":["d"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
                        {"names":["e"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}},
                        {"names":["f"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_X"]}},
                        {"names":["g"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_X"]}}]}"#;
        let seccomp = parse_profile(json, CONDITIONS).unwrap().unwrap();
        assert_eq!(names(&seccomp, "SCMP_ACT_ALLOW"), ["a", "b", "g"]);
        assert_eq!(seccomp.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!(seccomp.default_errno_ret, Some(1));
        assert_eq!(parse_profile("{}", CONDITIONS).unwrap(), None);
    }

    #[test]
    fn wrong_profiles_are_named() {
        for (json, text) in [
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x"],"archMap":[{}]}"#,
                "both 'architectures' and 'archMap' are specified",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"]}]}"#,
                "both 'name' and 'names' are specified",
            ),
            (
                r#"{"syscalls":[{"name":"a","includes":{"minKernel":"x"}}]}"#,
                "invalid kernel version",
            ),
            ("[", "Decoding seccomp profile failed"),
        ] {
            let error = parse_profile(json, CONDITIONS).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
