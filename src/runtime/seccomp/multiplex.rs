//! Calls that processes of 32-bit x86 make by way of another: `socketcall` and `ipc`, whose first argument says which one is
//! meant (include/uapi/linux/net.h, include/uapi/linux/ipc.h).
//!
//! A rule for `socket` is one for `socketcall` with 1 as well, or a program would only have to take the old way. The
//! other arguments are in memory then, where no filter sees them: as libseccomp has it, what a rule asks of the
//! first argument is left out, and the rest is asked of the arguments that there are.

use super::program::{Alternative, Comparison, Condition};

const SOCKETCALL: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Returns the calls that can be made by `carrier`, with the first argument that means each.
pub(super) fn carried_by(carrier: &str) -> &'static [(&'static str, u64)] {
    match carrier {
        "socketcall" => &SOCKETCALL,
        "ipc" => &IPC,
        _ => &[],
    }
}

/// Returns the rule for the carrier that `alternative` is if `number` means its call.
pub(super) fn carried(alternative: &Alternative, number: u64) -> Alternative {
    let mut conditions = vec![Condition {
        argument: 0,
        comparison: Comparison::Equal(number),
    }];
    let others = alternative.conditions.iter();
    conditions.extend(others.copied().filter(|other| other.argument != 0));
    Alternative {
        conditions,
        returned: alternative.returned,
    }
}
