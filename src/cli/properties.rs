//! Whatever people type, the parsers answer: random arguments never make one panic.

use std::path::Path;

use proptest::prelude::*;

use super::commands::run::{CREATE, RUN};
use super::flags::{csv, devices, keys, mount, network, ports, resources, volume};
use super::human::{size, time};
use super::template::{Template, to_value};
use super::{parse, strconv, values};
use crate::docker::inspect::ContainerInspect;
use crate::oci::reference::Reference;

/// Text of the signs that mean something somewhere, and of some that nobody expects.
fn text() -> impl Strategy<Value = String> {
    let sign = prop_oneof![
        8 => prop::sample::select(":/,=.-@[]{}()|\"'`$%* \t0123456789abmkgxTZ".chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ];
    prop::collection::vec(sign, 0..24).prop_map(String::from_iter)
}

/// Text that is nearly an argument.
fn nearly() -> impl Strategy<Value = String> {
    let parts = [
        "8080",
        "80",
        "-",
        ":",
        "/tcp",
        "127.0.0.1",
        "[::1]",
        "99999",
        "type=",
        "bind",
        "source=",
        "target=/x",
        ",",
        "ro",
        "name",
        "/host",
        "./rel",
        "..",
        "tmpfs-size=",
        "1m",
        "alpine",
        "@sha256:",
        "host:5000/",
        "latest",
        "1h",
        "30m",
        "ms",
        "é",
        "世",
        "",
        "=",
        "\"",
        "volume-opt=",
        "gw-priority=",
        "{{",
        "}}",
        ".Name",
        "range ",
        "end",
        "printf \"%5.2f\" ",
        "if ",
        "$x := ",
        " | ",
        "index ",
        "slice ",
        "truncate ",
        "\"é\"",
        "2",
        "-1",
        "%*d",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..10)
        .prop_map(|parts| parts.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![text(), nearly()]
}

/// An answer of either kind is fine.
fn answered<T, E>(result: Result<T, E>) {
    drop(result);
}

proptest! {
    #[test]
    fn volumes_mounts_and_ports(text in any_text()) {
        answered(volume::parse(&text, Path::new("/cwd")));
        answered(mount::parse(&text));
        answered(ports::publish(std::slice::from_ref(&text)));
        let mut exposed = ports::Exposed::new();
        // Ranges are at most all ports, so even the largest one ends.
        answered(ports::expose(&text, &mut exposed));
        answered(csv::record(&text));
    }

    #[test]
    fn networks_and_devices(text in any_text()) {
        answered(network::parse(&text));
        answered(network::extra_host(&text));
        answered(network::search_domain(&text));
        answered(network::link(&text));
        network::is_mac_address(&text);
        answered(devices::mapping(&text));
        answered(devices::rule(&text));
        answered(devices::gpus(&text));
        answered(devices::weight(&text));
        answered(devices::bytes_per_second(&text));
        answered(resources::ulimit(&text));
        answered(keys::parse(&text));
    }

    #[test]
    fn sizes_times_and_references(text in any_text()) {
        answered(size::parse_ram_bytes(&text));
        answered(size::parse_decimal_bytes(&text));
        answered(time::parse_duration(&text));
        time::go_time(&text);
        answered(values::cpus(&text));
        answered(values::filter(&text));
        answered(values::label(&text));
        answered(strconv::number::parse_int(&text));
        answered(Reference::parse(&text));
        let quoted = strconv::quote::quote(&text);
        prop_assert_eq!(strconv::quote::unquote(&quoted), Some(text));
    }

    #[test]
    fn what_is_printed_is_read_back(bytes in 0..i64::MAX, nanoseconds in any::<i64>()) {
        let printed = crate::docker::duration::go_duration(nanoseconds);
        if nanoseconds > i64::MIN {
            prop_assert_eq!(time::parse_duration(&printed).unwrap(), nanoseconds);
        }
        size::bytes_short(bytes);
        let printed = size::bytes_binary(bytes);
        if bytes < 1 << 50 {
            let read = size::parse_ram_bytes(&printed).unwrap();
            prop_assert!((read - bytes).abs() <= bytes / 1000 + 1, "{} {}", printed, bytes);
        }
    }

    #[test]
    fn templates(text in any_text()) {
        let data = to_value(&ContainerInspect::default()).unwrap();
        let open = format!("{{{{{text}}}}}");
        for text in [text, open] {
            if let Ok(template) = Template::parse(&text) {
                answered(template.inspect(&data));
                template.uses("Name");
            }
        }
    }

    #[test]
    fn command_lines(arguments in prop::collection::vec(any_text(), 0..6), flag in "-{1,2}[a-z]{1,6}=?") {
        let mut arguments = arguments;
        arguments.insert(0, flag);
        answered(parse::parse(&RUN, "docker run", &arguments));
        answered(parse::parse(&CREATE, "aril create", &arguments));
        parse::dash_hint(&arguments);
    }
}
