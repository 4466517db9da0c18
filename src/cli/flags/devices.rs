//! Options of devices: `--device`, `--device-cgroup-rule`, `--gpus`, rates and weights of block devices.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{csv, volume};
use crate::cli::human::size;
use crate::cli::strconv::number;
use crate::docker::container::{DeviceMapping, Resources, ThrottleDevice, WeightDevice};
use crate::error;

/// Options of devices.
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct DeviceFlags {
    /// Weight of a block device (DEVICE:WEIGHT), 10 to 1000, 0 for none
    #[arg(long, value_name = "list", value_parser = weight)]
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Give the container a device of the host (HOST[:CONTAINER][:PERMISSIONS])
    #[arg(long, value_name = "list")]
    pub device: Vec<String>,
    /// Allow devices by their numbers ("c 1:3 rwm")
    #[arg(long, value_name = "list", value_parser = rule)]
    pub device_cgroup_rule: Vec<String>,
    /// Most bytes per second read from a device (DEVICE:RATE)
    #[arg(long, value_name = "list", value_parser = bytes_per_second)]
    pub device_read_bps: Vec<ThrottleDevice>,
    /// Most reads per second from a device (DEVICE:RATE)
    #[arg(long, value_name = "list", value_parser = operations_per_second)]
    pub device_read_iops: Vec<ThrottleDevice>,
    /// Most bytes per second written to a device (DEVICE:RATE)
    #[arg(long, value_name = "list", value_parser = bytes_per_second)]
    pub device_write_bps: Vec<ThrottleDevice>,
    /// Most writes per second to a device (DEVICE:RATE)
    #[arg(long, value_name = "list", value_parser = operations_per_second)]
    pub device_write_iops: Vec<ThrottleDevice>,
    /// GPUs to give the container: a number, "all", or device=…
    #[arg(long, value_name = "gpu-request", value_parser = gpus)]
    pub gpus: Vec<Value>,
}

/// Adds what the options ask for to `resources`; errors are of kind `Invalid`.
pub fn apply(flags: &DeviceFlags, resources: &mut Resources) -> Result<()> {
    let mut requests = flags.gpus.clone();
    let mut names = Vec::new();
    for device in &flags.device {
        if is_cdi_name(device) {
            names.push(device.clone());
        } else {
            resources.devices.push(mapping(device)?);
        }
    }
    if !names.is_empty() {
        requests.push(json!({
            "Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": null, "Options": null,
        }));
    }
    resources.device_requests = Some(requests).filter(|requests| !requests.is_empty());
    let rules = flags.device_cgroup_rule.clone();
    resources.device_cgroup_rules = Some(rules).filter(|rules| !rules.is_empty());
    resources
        .blkio_weight_device
        .clone_from(&flags.blkio_weight_device);
    resources
        .blkio_device_read_bps
        .clone_from(&flags.device_read_bps);
    resources
        .blkio_device_write_bps
        .clone_from(&flags.device_write_bps);
    resources
        .blkio_device_read_iops
        .clone_from(&flags.device_read_iops);
    resources
        .blkio_device_write_iops
        .clone_from(&flags.device_write_iops);
    Ok(())
}

fn refuse<T>(why: String) -> Result<T> {
    Err(error::invalid(why))
}

/// Reads an argument of `--device`: `/dev/a`, `/dev/a:/dev/b`, `/dev/a:rw`, `/dev/a:/dev/b:rw`.
pub fn mapping(text: &str) -> Result<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return refuse(format!("bad format for path: {text}"));
    }
    let (host, container, permissions) = match parts.as_slice() {
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, container] => (*host, *container, "rwm"),
        [_, _, mode] if !is_mode(mode) => return refuse(format!("bad mode specified: {mode}")),
        [host, container, mode] => (*host, *container, *mode),
        _ => (text, text, "rwm"),
    };
    if !container.starts_with('/') {
        return refuse(format!("{container} is not an absolute path"));
    }
    let clean = |path: &str| {
        let absolute = volume::absolute(Path::new("/"), path);
        absolute.to_string_lossy().into_owned()
    };
    // With three parts docker takes the path in the container as it is.
    let in_container = if parts.len() == 3 {
        container.to_owned()
    } else {
        clean(container)
    };
    let on_host = if host == container {
        in_container.clone()
    } else {
        host.to_owned()
    };
    Ok(DeviceMapping {
        path_on_host: on_host,
        path_in_container: in_container,
        cgroup_permissions: permissions.to_owned(),
    })
}

/// Whether `text` has letters of `rwm`, each once.
fn is_mode(text: &str) -> bool {
    let once = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c) && once(c))
}

/// Whether `text` is a name of the container device interface: `vendor.com/class=device`.
fn is_cdi_name(text: &str) -> bool {
    let word = |text: &str, inner: &str| {
        let mut chars = text.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
        let last = text.ends_with(|c: char| c.is_ascii_alphanumeric());
        first && last && chars.all(|c| c.is_ascii_alphanumeric() || inner.contains(c))
    };
    let parts = text
        .split_once('=')
        .and_then(|(kind, device)| Some((kind.split_once('/')?, device)));
    match parts {
        Some(((vendor, class), device)) => {
            let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
            letter(vendor)
                && letter(class)
                && word(vendor, "_-.")
                && word(class, "_-.")
                && word(device, "_-.:")
        }
        None => false,
    }
}

/// Checks an argument of `--device-cgroup-rule`: `c 1:3 rwm`, `b *:* m`.
pub fn rule(text: &str) -> Result<String> {
    let number =
        |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split(' ').collect();
    let good = match parts.as_slice() {
        [kind, numbers, mode] => {
            let mode_is_good =
                (1..=3).contains(&mode.len()) && mode.chars().all(|c| "rwm".contains(c));
            let numbers = numbers.split_once(':');
            matches!(*kind, "a" | "b" | "c")
                && numbers.is_some_and(|(major, minor)| number(major) && number(minor))
                && mode_is_good
        }
        _ => false,
    };
    if !good {
        return refuse(format!("invalid device cgroup format '{text}'"));
    }
    Ok(text.to_owned())
}

/// The path of a block device, and what is after the colon.
fn device_and_value(text: &str) -> Result<(&str, &str)> {
    let pair = text.split_once(':').filter(|(path, _)| !path.is_empty());
    let Some((path, value)) = pair else {
        return refuse(format!("bad format: {text}"));
    };
    if !path.starts_with("/dev/") {
        return refuse(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

fn throttle(text: &str, rate: Option<u64>, form: &str) -> Result<ThrottleDevice> {
    let (path, _) = device_and_value(text)?;
    let Some(rate) = rate else {
        let correct = format!("The correct format is <device-path>:{form}");
        return refuse(format!("invalid rate for device: {text}. {correct}"));
    };
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate,
    })
}

/// Reads an argument of `--device-read-bps` and `--device-write-bps`.
pub fn bytes_per_second(text: &str) -> Result<ThrottleDevice> {
    const FORM: &str = "<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb";
    let (_, value) = device_and_value(text)?;
    let rate = size::parse_ram_bytes(value).ok();
    throttle(text, rate.and_then(|rate| u64::try_from(rate).ok()), FORM)
}

/// Reads an argument of `--device-read-iops` and `--device-write-iops`.
pub fn operations_per_second(text: &str) -> Result<ThrottleDevice> {
    const FORM: &str = "<number>. Number must be a positive integer";
    let (_, value) = device_and_value(text)?;
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    throttle(text, value.parse().ok().filter(|_| digits), FORM)
}

/// Reads an argument of `--blkio-weight-device`.
pub fn weight(text: &str) -> Result<WeightDevice> {
    let (path, value) = device_and_value(text)?;
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let weight = value.parse().ok().filter(|_| digits);
    match weight {
        Some(weight) if weight == 0 || (10..=1000).contains(&weight) => Ok(WeightDevice {
            path: path.to_owned(),
            weight,
        }),
        _ => refuse(format!("invalid weight for device: {text}")),
    }
}

/// Reads an argument of `--gpus` as a request of the API: `all`, `2`, `device=0`, `"capabilities=compute,utility"`.
pub fn gpus(text: &str) -> Result<Value> {
    let mut request = json!({
        "Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {},
    });
    let mut seen: Vec<String> = Vec::new();
    for field in csv::record(text)? {
        let (key, value) = field.split_once('=').unwrap_or((field.as_str(), ""));
        if seen.iter().any(|other| other == key) {
            return refuse(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        seen.push(key.to_owned());
        let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<_>>();
        if !field.contains('=') {
            request["Count"] = json!(count(key)?);
            seen.push("count".to_owned());
            continue;
        }
        match key {
            "driver" => request["Driver"] = json!(value),
            "count" => request["Count"] = json!(count(value)?),
            "device" => request["DeviceIDs"] = json!(list(value)),
            "capabilities" => {
                let mut all = list(value);
                all.push("gpu".to_owned());
                request["Capabilities"] = json!([all]);
            }
            "options" => {
                for option in csv::record(value)? {
                    let (key, value) = option.split_once('=').unwrap_or((option.as_str(), ""));
                    request["Options"][key] = json!(value);
                }
            }
            _ => return refuse(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.iter().any(|key| key == "count") && request["DeviceIDs"].is_null() {
        request["Count"] = json!(1);
    }
    Ok(request)
}

/// All are -1.
fn count(text: &str) -> Result<i64> {
    if text == "all" {
        return Ok(-1);
    }
    number::parse_decimal(text).map_err(|error| {
        let why = error.to_string();
        let why = why.rsplit(": ").next().unwrap_or_default();
        let must = "value must be either \"all\" or an integer";
        error::invalid(format!("invalid count ({text}): {must}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn devices() {
        for (argument, host, container, permissions) in [
            ("/dev/a", "/dev/a", "/dev/a", "rwm"),
            ("/dev//a/", "/dev/a", "/dev/a", "rwm"),
            ("/dev/a:/dev/b", "/dev/a", "/dev/b", "rwm"),
            ("/dev/a:rw", "/dev/a", "/dev/a", "rw"),
            ("/dev/a:/dev/b:r", "/dev/a", "/dev/b", "r"),
            ("a:/dev/b", "a", "/dev/b", "rwm"),
        ] {
            let got = mapping(argument).unwrap();
            let want = DeviceMapping {
                path_on_host: host.to_owned(),
                path_in_container: container.to_owned(),
                cgroup_permissions: permissions.to_owned(),
            };
            assert_eq!(got, want, "{argument}");
        }
        for (argument, want) in [
            ("a:b:c:d", "bad format for path: a:b:c:d"),
            (":/dev/b", "bad format for path: :/dev/b"),
            ("", "bad format for path: "),
            ("/dev/a:/dev/b:x", "bad mode specified: x"),
            ("/dev/a:/dev/b:rr", "bad mode specified: rr"),
            ("a", "a is not an absolute path"),
            ("/dev/a:b", "b is not an absolute path"),
        ] {
            assert_eq!(text(mapping(argument)), want, "{argument}");
        }
        let flags = DeviceFlags {
            device: vec!["nvidia.com/gpu=all".to_owned(), "/dev/a".to_owned()],
            ..DeviceFlags::default()
        };
        let mut resources = Resources::default();
        apply(&flags, &mut resources).unwrap();
        assert_eq!(resources.devices.len(), 1);
        assert_eq!(
            serde_json::to_string(&resources.device_requests).unwrap(),
            r#"[{"Driver":"cdi","Count":0,"DeviceIDs":["nvidia.com/gpu=all"],"Capabilities":null,"Options":null}]"#
        );
    }

    #[test]
    fn rules_rates_and_weights() {
        for good in ["c 1:3 rwm", "b *:* m", "a 1:* r"] {
            assert_eq!(rule(good).unwrap(), good);
        }
        for bad in [
            "x",
            "c 1:3",
            "d 1:3 r",
            "c 1:3 rwmx",
            "c 1:x r",
            "c 1 r",
            "c 1:3 x",
        ] {
            assert_eq!(
                text(rule(bad)),
                format!("invalid device cgroup format '{bad}'")
            );
        }
        assert_eq!(bytes_per_second("/dev/a:1mb").unwrap().rate, 1 << 20);
        assert_eq!(operations_per_second("/dev/a:5").unwrap().rate, 5);
        assert_eq!(weight("/dev/a:10").unwrap().weight, 10);
        assert_eq!(
            text(weight("/dev/a:5")),
            "invalid weight for device: /dev/a:5"
        );
        assert_eq!(text(weight("x")), "bad format: x");
        assert_eq!(
            text(bytes_per_second("/x:1")),
            "bad format for device path: /x:1"
        );
        assert_eq!(
            text(bytes_per_second("/dev/x:y")),
            "invalid rate for device: /dev/x:y. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        );
        assert_eq!(
            text(operations_per_second("/dev/x:y")),
            "invalid rate for device: /dev/x:y. The correct format is <device-path>:<number>. Number must be a positive integer"
        );
    }

    #[test]
    fn gpu_requests() {
        for (argument, want) in [
            (
                "all",
                r#"{"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}}"#,
            ),
            (
                "2",
                r#"{"Driver":"","Count":2,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}}"#,
            ),
            (
                "driver=nvidia,\"capabilities=compute,utility\"",
                r#"{"Driver":"nvidia","Count":1,"DeviceIDs":null,"Capabilities":[["compute","utility","gpu"]],"Options":{}}"#,
            ),
            (
                "\"device=0,1\",options=a=b",
                r#"{"Driver":"","Count":0,"DeviceIDs":["0","1"],"Capabilities":[["gpu"]],"Options":{"a":"b"}}"#,
            ),
        ] {
            assert_eq!(gpus(argument).unwrap().to_string(), want, "{argument}");
        }
        for (argument, want) in [
            (
                "x",
                "invalid count (x): value must be either \"all\" or an integer: invalid syntax",
            ),
            ("foo=bar", "unexpected key 'foo' in 'foo=bar'"),
            (
                "all,all",
                "gpu request key 'all' can be specified only once",
            ),
            (
                "all,count=1",
                "gpu request key 'count' can be specified only once",
            ),
        ] {
            assert_eq!(text(gpus(argument)), want, "{argument}");
        }
    }
}
