//! The messages of CRIU's RPC, as far as they are used here: protobuf, whose numbers are the protocol.
//!
//! What else an answer holds is passed over, so newer programs are understood.

use prost::{Enumeration, Message};

/// What is asked, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    /// Something has come to pass, and CRIU waits until it may go on.
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<Options>,
    /// The answer to a notification.
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
    /// Whether another request follows.
    #[prost(bool, optional, tag = "4")]
    pub(super) keep_open: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(super) features: Option<Features>,
}

impl Request {
    pub(super) fn new(kind: Kind) -> Request {
        Request {
            kind: kind.into(),
            ..Request::default()
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    /// A descriptor of ours, which CRIU opens anew by /proc.
    #[prost(int32, required, tag = "1")]
    pub(super) images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(super) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(super) evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(super) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(super) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub(super) page_server: Option<PageServer>,
    #[prost(bool, optional, tag = "12")]
    pub(super) notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(super) root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub(super) parent_img: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub(super) track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub(super) auto_dedup: Option<bool>,
    /// As that of the images.
    #[prost(int32, optional, tag = "17")]
    pub(super) work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(super) link_remap: Option<bool>,
    #[prost(message, repeated, tag = "23")]
    pub(super) ext_mnt: Vec<ExternalMount>,
    #[prost(bool, optional, tag = "24")]
    pub(super) manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub(super) cg_root: Vec<CgroupRoot>,
    /// Whether what is restored becomes our child instead of CRIU's.
    #[prost(bool, optional, tag = "26")]
    pub(super) rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(super) inherit_fd: Vec<InheritFd>,
    #[prost(int32, optional, tag = "34")]
    pub(super) manage_cgroups_mode: Option<i32>,
    #[prost(string, repeated, tag = "37")]
    pub(super) external: Vec<String>,
    /// CLONE_NEW* bits.
    #[prost(uint32, optional, tag = "38")]
    pub(super) empty_ns: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub(super) join_ns: Vec<JoinNamespace>,
    #[prost(string, optional, tag = "44")]
    pub(super) freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub(super) tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub(super) orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(super) config_file: Option<String>,
    #[prost(string, optional, tag = "53")]
    pub(super) lsm_profile: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub(super) lsm_mount_context: Option<String>,
    /// How packets are kept away meanwhile: 1 is iptables, 2 nft's library.
    #[prost(int32, optional, tag = "64")]
    pub(super) network_lock: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PageServer {
    #[prost(string, optional, tag = "1")]
    pub(super) address: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) port: Option<i32>,
}

/// At a dump from the mount point to the name in the images; at a restore from the name to the path on the host.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ExternalMount {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(string, required, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct JoinNamespace {
    #[prost(string, required, tag = "1")]
    pub(super) kind: String,
    #[prost(string, required, tag = "2")]
    pub(super) file: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct InheritFd {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    /// As CRIU's process numbers it.
    #[prost(int32, required, tag = "2")]
    pub(super) fd: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct CgroupRoot {
    /// Empty for the v2 hierarchy.
    #[prost(string, optional, tag = "1")]
    pub(super) controller: Option<String>,
    #[prost(string, required, tag = "2")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Features {
    /// Whether the kernel tells which pages of memory have changed.
    #[prost(bool, optional, tag = "1")]
    pub(super) mem_track: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notification>,
    #[prost(int32, optional, tag = "7")]
    pub(super) errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) features: Option<Features>,
    #[prost(string, optional, tag = "9")]
    pub(super) message: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(super) version: Option<Version>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Notification {
    /// What has come to pass: `setup-namespaces`, `post-restore`…
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
    /// The first process, for some.
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Version {
    #[prost(int32, required, tag = "1")]
    pub(super) major: i32,
    #[prost(int32, required, tag = "2")]
    pub(super) minor: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_protocol_says() {
        let request = Request {
            options: Some(Options {
                images_dir_fd: 5,
                ext_mnt: vec![ExternalMount {
                    key: "/a".to_owned(),
                    value: "b".to_owned(),
                }],
                ..Options::default()
            }),
            ..Request::new(Kind::Dump)
        };
        let expected = b"\x08\x01\x12\x0c\x08\x05\xba\x01\x07\x0a\x02/a\x12\x01b";
        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn answers_are_read_whatever_else_they_hold() {
        // restore = {pid: 7} and a field 99 are nothing to us.
        let bytes =
            b"\x08\x06\x10\x01\x22\x02\x08\x07\x2a\x10\x0a\x0cpost-restore\x10\x07\x98\x06\x01";
        let response = Response::decode(&bytes[..]).unwrap();
        assert_eq!((response.kind(), response.success), (Kind::Notify, true));
        let notify = response.notify.unwrap();
        assert_eq!((notify.script(), notify.pid()), ("post-restore", 7));
        assert!(Response::decode(&b"\x08\x06\x10"[..]).is_err());
    }
}
