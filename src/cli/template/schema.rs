//! What Go's types say of the fields of docker's documents and JSON does not: their names in Go, what they are when they
//! are left out or `null`, which texts are times and which numbers are durations.
//!
//! Tables by the name in JSON; a field that no table names is a pointer when it is `null`.

use std::rc::Rc;

use super::value::{Integer, List, Map, Value};

/// Names in JSON that Go writes otherwise.
const GO_NAMES: &[(&str, &str)] = &[
    ("ApiVersion", "APIVersion"),
    ("AuxiliaryAddresses", "AuxAddress"),
    ("CpuCfsPeriod", "CPUCfsPeriod"),
    ("CpuCfsQuota", "CPUCfsQuota"),
    ("CpuCount", "CPUCount"),
    ("CpuPercent", "CPUPercent"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuShares", "CPUShares"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("HostIp", "HostIP"),
    ("HttpProxy", "HTTPProxy"),
    ("HttpsProxy", "HTTPSProxy"),
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
    ("ParentId", "ParentID"),
    ("from", "From"),
    ("id", "ID"),
    ("path", "Path"),
    ("scope", "Scope"),
    ("status", "Status"),
    ("time", "Time"),
    ("timeNano", "TimeNano"),
];

/// What a field is when it is left out or `null`.
#[derive(Clone, Copy)]
enum Zero {
    Strings,
    List,
    StringMap,
    SetMap,
    ListMap,
    String,
    Bool,
    Int,
}

const ZEROS: &[(&str, Zero)] = &[
    ("Aliases", Zero::Strings),
    ("Annotations", Zero::StringMap),
    ("ArgsEscaped", Zero::Bool),
    ("Attributes", Zero::StringMap),
    ("AuxiliaryAddresses", Zero::StringMap),
    ("Binds", Zero::Strings),
    ("BlkioDeviceReadBps", Zero::List),
    ("BlkioDeviceReadIOps", Zero::List),
    ("BlkioDeviceWriteBps", Zero::List),
    ("BlkioDeviceWriteIOps", Zero::List),
    ("BlkioWeightDevice", Zero::List),
    ("CapAdd", Zero::Strings),
    ("CapDrop", Zero::Strings),
    ("Cmd", Zero::Strings),
    ("Consistency", Zero::String),
    ("Created", Zero::String),
    ("DNSNames", Zero::Strings),
    ("Data", Zero::StringMap),
    ("DeviceCgroupRules", Zero::Strings),
    ("DeviceRequests", Zero::List),
    ("Devices", Zero::List),
    ("Driver", Zero::String),
    ("DriverOpts", Zero::StringMap),
    ("Entrypoint", Zero::Strings),
    ("Env", Zero::Strings),
    ("ExecIDs", Zero::Strings),
    ("ExposedPorts", Zero::SetMap),
    ("ExtraHosts", Zero::Strings),
    ("GroupAdd", Zero::Strings),
    ("IPv4Address", Zero::String),
    ("IPv6Address", Zero::String),
    ("Interval", Zero::Int),
    ("KernelMemoryTCP", Zero::Int),
    ("Labels", Zero::StringMap),
    ("Layers", Zero::Strings),
    ("LinkLocalIPs", Zero::Strings),
    ("Links", Zero::Strings),
    ("MacAddress", Zero::String),
    ("MaskedPaths", Zero::Strings),
    ("Mounts", Zero::List),
    ("Name", Zero::String),
    ("NetworkDisabled", Zero::Bool),
    ("OnBuild", Zero::Strings),
    ("Options", Zero::StringMap),
    ("PortBindings", Zero::ListMap),
    ("Ports", Zero::ListMap),
    ("Propagation", Zero::String),
    ("ReadOnly", Zero::Bool),
    ("ReadonlyPaths", Zero::Strings),
    ("Retries", Zero::Int),
    ("SecondaryIPAddresses", Zero::List),
    ("SecondaryIPv6Addresses", Zero::List),
    ("SecurityOpt", Zero::Strings),
    ("Shell", Zero::Strings),
    ("Source", Zero::String),
    ("StartInterval", Zero::Int),
    ("StartPeriod", Zero::Int),
    ("StopSignal", Zero::String),
    ("StorageOpt", Zero::StringMap),
    ("Subpath", Zero::String),
    ("Sysctls", Zero::StringMap),
    ("Tags", Zero::Strings),
    ("Test", Zero::Strings),
    ("Timeout", Zero::Int),
    ("Tmpfs", Zero::StringMap),
    ("Ulimits", Zero::List),
    ("User", Zero::String),
    ("Variant", Zero::String),
    ("Volumes", Zero::SetMap),
    ("VolumesFrom", Zero::Strings),
    ("WorkingDir", Zero::String),
    ("from", Zero::String),
    ("id", Zero::String),
    ("status", Zero::String),
];

/// Structs that serialise as maps because they have flattened parts: our type and its field that they stand in, Go's
/// name of their type, and the fields that may be left out.
const FLATTENED: &[((&str, &str), &str, &[&str])] = &[
    (
        ("ContainerInspect", "HostConfig"),
        "*container.HostConfig",
        &[
            "Annotations",
            "StorageOpt",
            "Tmpfs",
            "Sysctls",
            "KernelMemoryTCP",
            "Mounts",
            "Init",
        ],
    ),
    (
        ("ImageInspect", "Config"),
        "*v1.DockerOCIImageConfig",
        &[
            "User",
            "ExposedPorts",
            "Env",
            "Entrypoint",
            "Cmd",
            "Volumes",
            "WorkingDir",
            "Labels",
            "StopSignal",
            "ArgsEscaped",
            "Healthcheck",
            "OnBuild",
            "Shell",
        ],
    ),
];

/// Fields whose text is a time in Go, by the name of our type.
const TIMES: &[(&str, &str)] = &[
    ("HealthResult", "Start"),
    ("HealthResult", "End"),
    ("Metadata", "LastTagTime"),
    ("NetworkInspect", "Created"),
];

/// Fields whose nanoseconds are a duration in Go, by the name of our type.
const DURATIONS: &[(&str, &str)] = &[
    ("Healthcheck", "Interval"),
    ("Healthcheck", "Timeout"),
    ("Healthcheck", "StartPeriod"),
    ("Healthcheck", "StartInterval"),
];

/// Go's names of our types, where error texts show them.
const TYPES: &[(&str, &str)] = &[
    ("Actor", "events.Actor"),
    ("Config", "*container.Config"),
    ("ContainerInspect", "container.InspectResponse"),
    ("EndpointSettings", "*network.EndpointSettings"),
    ("Event", "*events.Message"),
    ("Health", "*container.Health"),
    ("HealthResult", "*container.HealthcheckResult"),
    ("Healthcheck", "*v1.HealthcheckConfig"),
    ("HostConfig", "*container.HostConfig"),
    ("ImageInspect", "image.InspectResponse"),
    ("Info", "system.dockerInfo"),
    ("MountPoint", "container.MountPoint"),
    ("NetworkSettings", "*container.NetworkSettings"),
    ("PortBinding", "nat.PortBinding"),
    ("State", "*container.State"),
    ("Volume", "volume.Volume"),
];

fn look_up<'a, T: Copy>(table: &'a [(&'a str, T)], name: &str) -> Option<T> {
    let (_, found) = table.iter().find(|(key, _)| *key == name)?;
    Some(*found)
}

/// Returns the name of a field in Go, if it is another than in JSON.
pub(super) fn go_name(json: &str) -> Option<&'static str> {
    look_up(GO_NAMES, json)
}

/// Returns Go's name of one of our types; ours if nobody asked for it yet.
pub(super) fn type_name(ours: &'static str) -> &'static str {
    look_up(TYPES, ours).unwrap_or(ours)
}

/// Returns what the field `json` is when it is left out or `null`.
pub(super) fn zero(json: &str) -> Value {
    let list = |zero: Value| {
        Value::List(Rc::new(List {
            zero,
            nil: true,
            items: Vec::new(),
        }))
    };
    let map = |zero: Value| {
        Value::Map(Rc::new(Map {
            zero,
            key: key(json),
            nil: true,
            entries: Vec::new(),
        }))
    };
    match look_up(ZEROS, json) {
        Some(Zero::Strings) => list(Value::string("")),
        Some(Zero::List) => list(Value::NilPointer("*struct {}")),
        Some(Zero::StringMap) => map(Value::string("")),
        Some(Zero::SetMap) => map(Value::NilPointer("struct {}")),
        Some(Zero::ListMap) => map(list(Value::NilPointer("nat.PortBinding"))),
        Some(Zero::String) => Value::string(""),
        Some(Zero::Bool) => Value::Bool(false),
        Some(Zero::Int) => Value::Integer(0, Integer::Int),
        None => Value::NilPointer("*struct {}"),
    }
}

/// Returns the zero value of the elements of the list or map in the field `json`, if a table knows the field.
pub(super) fn element(json: &str) -> Option<Value> {
    match zero(json) {
        Value::List(list) => Some(list.zero.clone()),
        Value::Map(map) => Some(map.zero.clone()),
        _ => None,
    }
}

/// Returns Go's type of the keys of the map in the field `json`, if it is not `string`.
pub(super) fn key(json: &str) -> Option<&'static str> {
    matches!(json, "ExposedPorts" | "PortBindings" | "Ports").then_some("nat.Port")
}

/// Returns Go's type, and the fields that may be left out, of the struct that serialises as a map in the field
/// `ours.json`.
pub(super) fn flattened(ours: &str, json: &str) -> Option<(&'static str, &'static [&'static str])> {
    let mut all = FLATTENED.iter();
    let (_, name, omittable) = all.find(|(place, _, _)| *place == (ours, json))?;
    Some((name, omittable))
}

/// Returns the value that `ours.json` has in Go: a time or a duration where Go has one.
pub(super) fn typed(ours: &str, json: &str, value: Value) -> Value {
    let listed = |table: &[(&str, &str)]| table.contains(&(ours, json));
    match value {
        Value::String(text) if listed(TIMES) => Value::Time(text),
        Value::Integer(number, _) if listed(DURATIONS) => {
            Value::Duration(i64::try_from(number).unwrap_or(i64::MAX))
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_without_repeats() {
        let names: Vec<&str> = ZEROS.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted() && GO_NAMES.is_sorted() && TYPES.is_sorted());
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(unique, names);
    }

    #[test]
    fn what_is_left_out_has_the_zero_value_of_its_type() {
        assert!(matches!(zero("Env"), Value::List(list) if list.nil));
        assert!(matches!(zero("Labels"), Value::Map(map) if map.nil));
        assert!(matches!(zero("Health"), Value::NilPointer(_)));
        assert_eq!(zero("StopSignal"), Value::string(""));
    }
}
