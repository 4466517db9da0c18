//! Scheduling, io priority, execution domain and memory policy of a process: names to numbers. Pure.

use anyhow::{Result, bail};

use crate::error;
use crate::oci::runtime::linux::{MemoryPolicy, Personality};
use crate::oci::runtime::{IoPriority, Scheduler};
use crate::sys::schedule::SchedulingAttributes;

/// Reads a scheduling policy (sched_setattr(2)).
pub(super) fn scheduling(scheduler: &Scheduler) -> Result<SchedulingAttributes> {
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        unknown => bail!(invalid("scheduler policy", unknown)),
    };
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            unknown => bail!(invalid("scheduler flag", unknown)),
        };
    }
    Ok(SchedulingAttributes {
        size: 0,
        policy,
        flags,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority)
            .map_err(|_| invalid("scheduler priority", &scheduler.priority.to_string()))?,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    })
}

/// Reads an io priority; returns class and level (ioprio_set(2)).
pub(super) fn io_priority(priority: &IoPriority) -> Result<(i32, i32)> {
    let class = match priority.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        unknown => bail!(invalid("io priority class", unknown)),
    };
    match i32::try_from(priority.priority) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => bail!(invalid("io priority", &priority.priority.to_string())),
    }
}

/// Reads an execution domain (personality(2)).
pub(super) fn personality(personality: &Personality) -> Result<i32> {
    if let Some(flag) = personality.flags.first() {
        bail!(invalid("personality flag", flag));
    }
    match personality.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        unknown => bail!(invalid("personality domain", unknown)),
    }
}

/// Modes of memory policies, by their names and numbers (set_mempolicy(2)).
pub(super) const MEMORY_MODES: [(&str, i32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Flags of memory policies, bits beside the mode.
pub(super) const MEMORY_FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Reads a memory policy; returns mode and nodes, bit n of them node n (set_mempolicy(2)).
pub(super) fn memory_policy(policy: &MemoryPolicy) -> Result<(i32, Vec<u64>)> {
    let number = |table: &[(&str, i32)], what: &str, wanted: &str| {
        let found = table.iter().find(|(name, _)| *name == wanted);
        found
            .map(|(_, number)| *number)
            .ok_or_else(|| invalid(what, wanted))
    };
    let mut mode = number(&MEMORY_MODES, "memory policy mode", &policy.mode)?;
    for flag in &policy.flags {
        mode |= number(&MEMORY_FLAGS, "memory policy flag", flag)?;
    }
    let mut mask = Vec::new();
    if !policy.nodes.is_empty() {
        let nodes = number_list(&policy.nodes)
            .ok_or_else(|| invalid("memory policy nodes", &policy.nodes))?;
        for node in nodes {
            if mask.len() <= node / 64 {
                mask.resize(node / 64 + 1, 0);
            }
            mask[node / 64] |= 1 << (node % 64);
        }
    }
    Ok((mode, mask))
}

/// Reads a list of CPUs or nodes: `0-3,7`. Numbers end at 1023, the kernel's largest set.
pub(super) fn number_list(text: &str) -> Option<Vec<usize>> {
    const MAX: usize = 1023;
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last > MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn invalid(what: &str, value: &str) -> anyhow::Error {
    error::invalid(format!("invalid {what} {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        for (text, expected) in [
            ("0", Some(vec![0])),
            ("0-2,5", Some(vec![0, 1, 2, 5])),
            ("", None),
            ("2-1", None),
            ("0-99999", None),
            ("x", None),
        ] {
            assert_eq!(number_list(text), expected, "{text}");
        }
    }

    #[test]
    fn names_become_numbers() {
        let policy = |json: &str| memory_policy(&serde_json::from_str(json).unwrap());
        assert_eq!(
            policy(r#"{"mode":"MPOL_BIND","nodes":"0,65","flags":["MPOL_F_STATIC_NODES"]}"#)
                .unwrap(),
            (2 | 1 << 15, vec![1, 2])
        );
        assert_eq!(policy(r#"{"mode":"MPOL_DEFAULT"}"#).unwrap(), (0, vec![]));
        assert!(policy(r#"{"mode":"MPOL_X"}"#).is_err());
        let priority = |class: &str, priority| {
            io_priority(&IoPriority {
                class: class.to_owned(),
                priority,
            })
        };
        assert_eq!(priority("IOPRIO_CLASS_BE", 4).unwrap(), (2, 4));
        assert!(priority("IOPRIO_CLASS_BE", 8).is_err());
        let scheduler: Scheduler = serde_json::from_str(
            r#"{"policy":"SCHED_BATCH","nice":5,"flags":["SCHED_FLAG_RESET_ON_FORK"]}"#,
        )
        .unwrap();
        let attributes = scheduling(&scheduler).unwrap();
        assert_eq!(
            (attributes.policy, attributes.nice, attributes.flags),
            (3, 5, 1)
        );
    }
}
