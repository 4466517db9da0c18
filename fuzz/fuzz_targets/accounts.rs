//! A user, with what stands in etc/passwd and in etc/group: three parts with a zero between them.
#![no_main]

use aril::container::user::Accounts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let wanted = String::from_utf8_lossy(part()).into_owned();
    let accounts = Accounts::new(part(), part());
    let Ok(user) = accounts.find(&wanted, &[wanted.clone()]).or_else(|_| accounts.find(&wanted, &[])) else {
        return;
    };
    // A number is that user, and never a name; nobody is of one group twice.
    let name = wanted.split(':').next().unwrap_or_default();
    if let Ok(number) = name.parse::<u32>() {
        assert_eq!(user.uid, number);
    }
    let mut groups = user.groups.clone();
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), user.groups.len());
    assert_eq!(user.groups[0], user.gid);
});
