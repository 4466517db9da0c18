//! Who a process runs as: `user[:group]` looked up in the root filesystem's own etc/passwd and etc/group.
//!
//! Pure over the content of the two files; nothing asks the host's name service. Numbers are strict: what does not fit a
//! user id is an error, never a name and never another user (CVE-2024-40635, CVE-2026-30892).

use anyhow::Result;

use crate::error;

/// The largest user or group id.
const ID_MAX: u32 = i32::MAX as u32;

/// A user as the kernel and its program need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one among them, without repetition.
    pub groups: Vec<u32>,
    /// Home directory; `/` if the user has no entry.
    pub home: String,
}

/// The two files, as they were read; an absent file is empty.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Accounts {
    /// Takes the content of etc/passwd and etc/group; bytes that are not UTF-8 match no name.
    pub fn new(passwd: &[u8], group: &[u8]) -> Accounts {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Accounts {
            passwd: text(passwd),
            group: text(group),
        }
    }

    /// Finds the user that `wanted` (`user`, `uid`, `user:group`, `uid:gid`, or empty for root) means, with the groups of
    /// `additional`, names or ids.
    ///
    /// Without an explicit group it is in all groups that list it; with one, only in that. Errors are of kind `Invalid`.
    pub fn find(&self, wanted: &str, additional: &[String]) -> Result<User> {
        let (name, group) = match wanted.split_once(':') {
            Some((name, group)) => (name, group),
            None => (wanted, ""),
        };
        let number = number(name)?;
        let entry = self.passwd().find(|entry| match number {
            // Also if somebody is called so: that an image may decide on.
            Some(uid) => entry.uid == uid,
            None if name.is_empty() => entry.uid == 0,
            None => entry.name == name,
        });
        let uid = match (&entry, number) {
            (Some(entry), _) => entry.uid,
            (None, Some(uid)) => uid,
            (None, None) if name.is_empty() => 0,
            (None, None) => {
                let why = "no matching entries in passwd file";
                return Err(error::invalid(format!("unable to find user {name}: {why}")));
            }
        };
        let mut groups = Vec::new();
        let gid = if group.is_empty() {
            if let Some(entry) = &entry {
                let lists = |group: &GroupEntry<'_>| {
                    group.members.split(',').any(|member| member == entry.name)
                };
                groups.extend(self.groups().filter(lists).map(|group| group.gid));
            }
            entry.as_ref().map_or(0, |entry| entry.gid)
        } else {
            self.group(group)?
        };
        groups.insert(0, gid);
        for group in additional {
            groups.push(self.group(group)?);
        }
        let mut seen = std::collections::BTreeSet::new();
        groups.retain(|group| seen.insert(*group));
        let home = entry
            .map(|entry| entry.home)
            .filter(|home| !home.is_empty())
            .unwrap_or("/");
        Ok(User {
            uid,
            gid,
            groups,
            home: home.to_owned(),
        })
    }

    fn group(&self, wanted: &str) -> Result<u32> {
        if let Some(gid) = number(wanted)? {
            return Ok(gid);
        }
        let named = self.groups().find(|group| group.name == wanted);
        named.map(|group| group.gid).ok_or_else(|| {
            let why = "no matching entries in group file";
            error::invalid(format!("unable to find group {wanted}: {why}"))
        })
    }

    fn passwd(&self) -> impl Iterator<Item = PasswdEntry<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields[..] else {
                return None;
            };
            Some(PasswdEntry {
                name,
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home,
            })
        })
    }

    fn groups(&self) -> impl Iterator<Item = GroupEntry<'_>> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some(GroupEntry {
                name,
                gid: gid.parse().ok()?,
                members: fields.next().unwrap_or_default(),
            })
        })
    }
}

/// Reads what looks like a number as an id; anything else is a name.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= ID_MAX && digits.len() == text.len() => Ok(Some(id)),
        _ => Err(error::invalid(format!(
            "uids and gids must be in range 0-{ID_MAX}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken\n\
                          4294967296:x:7:7::/:/bin/sh\nnohome:x:5:5:::\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nvideo:x:44:app\n";

    fn find(wanted: &str, additional: &[&str]) -> Result<User> {
        let additional: Vec<String> = additional.iter().map(|group| (*group).to_owned()).collect();
        Accounts::new(PASSWD.as_bytes(), GROUP.as_bytes()).find(wanted, &additional)
    }

    fn check(wanted: &str, additional: &[&str], uid: u32, groups: &[u32], home: &str) {
        let user = find(wanted, additional).unwrap();
        assert_eq!(
            (user.uid, user.gid, &user.groups[..], &user.home[..]),
            (uid, groups[0], groups, home),
            "{wanted}"
        );
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        check("", &[], 0, &[0, 10], "/root");
        check("root", &[], 0, &[0, 10], "/root");
        check("app", &[], 1000, &[1001, 10, 44], "/home/app");
        check("1000", &[], 1000, &[1001, 10, 44], "/home/app");
        check("app:video", &[], 1000, &[44], "/home/app");
        check("app:7", &[], 1000, &[7], "/home/app");
        check("1234", &[], 1234, &[0], "/");
        check("1234:5678", &[], 1234, &[5678], "/");
        check("0:0", &["777", "video", "777"], 0, &[0, 777, 44], "/root");
        check("nohome", &[], 5, &[5], "/");
    }

    #[test]
    fn numbers_out_of_range_are_never_another_user() {
        for bad in [
            "4294967296",
            "2147483648",
            "99999999999999999999",
            "-1",
            "+1",
            "0:4294967296",
            "1:-1",
        ] {
            let error = find(bad, &[]).unwrap_err().to_string();
            assert!(
                error.contains("must be in range 0-2147483647"),
                "{bad}: {error}"
            );
        }
        for bad in ["0x1", " 1", "1 "] {
            assert_eq!(
                find(bad, &[]).unwrap_err().to_string(),
                format!("unable to find user {bad}: no matching entries in passwd file")
            );
        }
    }

    #[test]
    fn a_number_is_no_name() {
        let accounts = Accounts::new(b"1000:x:0:0::/root:/bin/sh\n", b"1000:x:0:\n");
        let user = accounts.find("1000:1000", &["1000".to_owned()]).unwrap();
        assert_eq!((user.uid, &user.groups[..]), (1000, &[1000][..]));
        assert_eq!(accounts.find("1000", &[]).unwrap().uid, 1000);
    }

    #[test]
    fn missing_names_have_dockers_texts() {
        assert_eq!(
            find("ghost", &[]).unwrap_err().to_string(),
            "unable to find user ghost: no matching entries in passwd file"
        );
        for (wanted, additional) in [("app:ghosts", &[][..]), ("app", &["ghosts"][..])] {
            assert_eq!(
                find(wanted, additional).unwrap_err().to_string(),
                "unable to find group ghosts: no matching entries in group file"
            );
        }
    }

    #[test]
    fn absent_files_leave_numbers() {
        let nobody = Accounts::default();
        assert_eq!(nobody.find("", &[]).unwrap().groups, [0]);
        assert_eq!(nobody.find("7:8", &[]).unwrap().gid, 8);
        assert!(nobody.find("root", &[]).is_err());
    }

    use proptest::prelude::*;

    proptest! {
        /// Whatever stands in the files, a number is itself and never a name.
        #[test]
        fn users_are_found_in_any_file(
            passwd in "([a-z0-9:/-]{0,30}\n|(app|[0-9]):x:[0-9]{1,12}:[0-9]{1,12}::/h:/s\n){0,6}",
            group in "([a-z0-9:,]{0,30}\n|wheel:x:[0-9]{1,12}:app,root\n){0,6}",
            wanted in "(app|root|[0-9]|[0-9]{1,12}|[a-z0-9-]{0,5})(:(wheel|[0-9]{1,12}|[a-z]{0,5}))?",
        ) {
            let accounts = Accounts::new(passwd.as_bytes(), group.as_bytes());
            if let Ok(user) = accounts.find(&wanted, &[]) {
                let name = wanted.split(':').next().unwrap_or_default();
                if let Ok(number) = name.parse::<u32>() {
                    prop_assert!(user.uid == number && number <= ID_MAX);
                }
            }
        }
    }
}
