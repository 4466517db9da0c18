//! `--mount`: keys and values in CSV, `type=bind,source=/host,target=/ctr,readonly`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::{csv, volume};
use crate::cli::human::size;
use crate::cli::strconv::number;
use crate::docker::container::{BindOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};
use crate::error;

/// Reads an argument of `--mount`; a source that begins with a dot stays relative, see [`resolve`].
///
/// Errors are of kind `Invalid` with docker's texts.
pub fn parse(text: &str) -> Result<Mount> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in csv::record(text)? {
        match field.split_once('=') {
            None => switch(&mut mount, &field)?,
            Some((key, value)) => set(&mut mount, &key.to_lowercase(), value, &field)?,
        }
    }
    check(&mount)?;
    Ok(mount)
}

/// Makes a relative source absolute: below `directory`, if it begins with a dot.
pub fn resolve(mount: &mut Mount, directory: &Path) {
    if mount.source.starts_with('.') {
        let absolute = volume::absolute(directory, &mount.source);
        mount.source = absolute.to_string_lossy().into_owned();
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(error::invalid(why))
}

/// A key without a value.
fn switch(mount: &mut Mount, field: &str) -> Result<()> {
    match field.to_lowercase().as_str() {
        "readonly" | "ro" => mount.read_only = true,
        "volume-nocopy" => volume_options(mount).no_copy = true,
        "bind-nonrecursive" => bind_options(mount).non_recursive = true,
        "idmap" => bind_options(mount).id_map = Some(String::new()),
        _ => return refuse(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<()> {
    let invalid = || error::invalid(format!("invalid value for {key}: {value}"));
    let truth = || number::parse_bool(value).map_err(|_| invalid());
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = truth()?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind_options(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => bind_options(mount).non_recursive = truth()?,
        "idmap" => bind_options(mount).id_map = Some(value.to_owned()),
        "bind-recursive" => {
            let options = bind_options(mount);
            match value {
                "enabled" => {}
                "disabled" => options.non_recursive = true,
                "writable" => options.read_only_non_recursive = true,
                "readonly" => options.read_only_force_recursive = true,
                _ => {
                    let known = r#"(must be "enabled", "disabled", "writable", or "readonly")"#;
                    return refuse(format!("invalid value for {key}: {value} {known}"));
                }
            }
        }
        "volume-subpath" => value.clone_into(&mut volume_options(mount).subpath),
        "volume-nocopy" => volume_options(mount).no_copy = truth()?,
        "volume-label" => insert(&mut volume_options(mount).labels, value),
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => insert(&mut driver(mount).options, value),
        "image-subpath" => {
            let options = mount.image_options.get_or_insert_default();
            value.clone_into(&mut options.subpath);
        }
        "tmpfs-size" => {
            tmpfs_options(mount).size_bytes =
                size::parse_ram_bytes(value).map_err(|_| invalid())?;
        }
        "tmpfs-mode" => {
            let digits = value.bytes().all(|b| (b'0'..=b'7').contains(&b));
            let mode = u32::from_str_radix(value, 8).ok().filter(|_| digits);
            tmpfs_options(mount).mode = mode.ok_or_else(invalid)?;
        }
        _ => return refuse(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn insert(map: &mut BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        map.insert(key.to_owned(), value.to_owned());
    }
}

fn bind_options(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume_options(mount: &mut Mount) -> &mut VolumeOptions {
    let options = mount.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default();
    options
}

fn driver(mount: &mut Mount) -> &mut VolumeDriver {
    volume_options(mount).driver_config.get_or_insert_default()
}

fn tmpfs_options(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

/// What only the whole tells.
fn check(mount: &Mount) -> Result<()> {
    if mount.kind.is_empty() {
        return refuse("type is required");
    }
    if mount.target.is_empty() {
        return refuse("target is required");
    }
    for (kind, given) in [
        ("volume", mount.volume_options.is_some()),
        ("image", mount.image_options.is_some()),
        ("bind", mount.bind_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
    ] {
        if given && mount.kind != kind {
            let with = format!("with mount type '{}'", mount.kind);
            return refuse(format!("cannot mix '{kind}-*' options {with}"));
        }
    }
    let BindOptions {
        propagation,
        read_only_non_recursive,
        read_only_force_recursive,
        ..
    } = mount.bind_options.clone().unwrap_or_default();
    let requires = |how: &str, what: &str| {
        let conjunction = "to be specified in conjunction";
        refuse(format!(
            "option 'bind-recursive={how}' requires '{what}' {conjunction}"
        ))
    };
    if read_only_non_recursive && !mount.read_only {
        return requires("writable", "readonly");
    }
    if read_only_force_recursive && !mount.read_only {
        return requires("readonly", "readonly");
    }
    if read_only_force_recursive && propagation != "rprivate" {
        return requires("readonly", "bind-propagation=rprivate");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = serde_json::to_string(&parse(text).unwrap()).unwrap();
        assert_eq!(got, want.replace('\'', "\""), "{text}");
    }

    #[test]
    fn mounts() {
        check("target=/x", "{'Type':'volume','Target':'/x'}");
        check(
            "source=v,dst=/x,ro",
            "{'Type':'volume','Source':'v','Target':'/x','ReadOnly':true}",
        );
        check(
            "TYPE=Bind,src=/h,destination=/x,readonly=0",
            "{'Type':'bind','Source':'/h','Target':'/x'}",
        );
        check(
            "type=bind,source=/h,target=/x,bind-propagation=RSlave,bind-nonrecursive,consistency=cached",
            "{'Type':'bind','Source':'/h','Target':'/x','Consistency':'cached','BindOptions':{'Propagation':'rslave','NonRecursive':true}}",
        );
        check(
            "type=bind,src=/h,dst=/x,ro,bind-propagation=rprivate,bind-recursive=readonly",
            "{'Type':'bind','Source':'/h','Target':'/x','ReadOnly':true,'BindOptions':{'Propagation':'rprivate','ReadOnlyForceRecursive':true}}",
        );
        check(
            "dst=/x,volume-nocopy,volume-label=a=b,volume-driver=local,volume-opt=type=nfs,\"volume-opt=o=a,b\",volume-subpath=s",
            "{'Type':'volume','Target':'/x','VolumeOptions':{'NoCopy':true,'Labels':{'a':'b'},'Subpath':'s','DriverConfig':{'Name':'local','Options':{'o':'a,b','type':'nfs'}}}}",
        );
        check(
            "dst=/x,volume-nocopy=false",
            "{'Type':'volume','Target':'/x','VolumeOptions':{'DriverConfig':{}}}",
        );
        check(
            "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770",
            "{'Type':'tmpfs','Target':'/x','TmpfsOptions':{'SizeBytes':1048576,'Mode':1016}}",
        );
        check(
            "type=image,src=busybox,dst=/x,image-subpath=etc",
            "{'Type':'image','Source':'busybox','Target':'/x','ImageOptions':{'Subpath':'etc'}}",
        );
        check("type=nosuch,dst=/x", "{'Type':'nosuch','Target':'/x'}");
        let mut mount = parse("type=bind,src=./a,dst=/x").unwrap();
        resolve(&mut mount, Path::new("/cwd"));
        assert_eq!(mount.source, "/cwd/a");
    }

    #[test]
    fn bad_mounts_are_refused_with_docker_texts() {
        for (text, want) in [
            ("", "EOF"),
            ("source=x", "target is required"),
            ("type=bind", "target is required"),
            ("type=,dst=/x", "type is required"),
            ("foo=bar,target=/x", "unexpected key 'foo' in 'foo=bar'"),
            ("Foo=Bar,target=/x", "unexpected key 'foo' in 'Foo=Bar'"),
            (
                "foo,target=/x",
                "invalid field 'foo' must be a key=value pair",
            ),
            ("dst=/x,ro=maybe", "invalid value for ro: maybe"),
            (
                "dst=/x,volume-nocopy=x",
                "invalid value for volume-nocopy: x",
            ),
            (
                "type=bind,dst=/x,bind-recursive=x",
                "invalid value for bind-recursive: x (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
            ),
            (
                "type=tmpfs,dst=/x,tmpfs-size=lots",
                "invalid value for tmpfs-size: lots",
            ),
            (
                "type=tmpfs,dst=/x,tmpfs-mode=888",
                "invalid value for tmpfs-mode: 888",
            ),
            (
                "type=tmpfs,dst=/x,tmpfs-mode=+7",
                "invalid value for tmpfs-mode: +7",
            ),
            (
                "type=bind,dst=/x,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "dst=/x,tmpfs-size=1",
                "cannot mix 'tmpfs-*' options with mount type 'volume'",
            ),
            (
                "dst=/x,bind-propagation=shared",
                "cannot mix 'bind-*' options with mount type 'volume'",
            ),
            (
                "dst=/x,image-subpath=a",
                "cannot mix 'image-*' options with mount type 'volume'",
            ),
            (
                "type=bind,dst=/x,bind-recursive=writable",
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
            ),
            (
                "type=bind,dst=/x,ro,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        }
    }
}
