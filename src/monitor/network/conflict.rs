//! What is said when a port is taken: docker's text, and who has it.

use crate::container::{Containers, Record};
use crate::dirs::Dirs;
use crate::error;
use crate::network::endpoint::Endpoint;
use crate::network::holder::{self, written};
use crate::network::ports::Taken;

/// Words the error of a port that cannot be had.
pub(super) fn explain(
    dirs: &Dirs,
    record: &Record,
    endpoint: &Endpoint,
    error: anyhow::Error,
) -> anyhow::Error {
    let context = format!(
        "driver failed programming external connectivity on endpoint {} ({})",
        record.name, endpoint.id
    );
    let Some(taken) = error.downcast_ref::<Taken>().copied() else {
        return error.context(context);
    };
    let protocol = taken.protocol.name();
    let host = written(taken.host, taken.port);
    let holder = holder::of(protocol, taken.port);
    let containers = Containers::new(dirs);
    // A monitor names its container in its arguments.
    let other = holder.as_ref().and_then(|holder| {
        let mut arguments = holder.arguments.iter();
        let is_id = |text: &&String| text.len() == 64;
        let id = arguments.find(is_id)?;
        containers
            .get(id)
            .ok()
            .map(|container| container.record.name)
    });
    let message = match (&other, endpoint.addresses.first()) {
        (None, Some((container, _))) => {
            let port = written(*container, taken.container_port);
            format!("failed to bind host port for {host}:{port}/{protocol}: address already in use")
        }
        _ => format!("Bind for {host} failed: port is already allocated"),
    };
    let who = match (other, holder) {
        (Some(name), _) => format!("container {name} has port {}", taken.port),
        (None, Some(holder)) => format!(
            "{} (pid {}) has port {}",
            holder.program, holder.pid, taken.port
        ),
        (None, None) => format!(
            "somebody who cannot be seen from here has port {}",
            taken.port
        ),
    };
    let hint = match holder::free_nearby(protocol, taken.port) {
        Some(free) => format!(
            "{who}; port {free} is free: -p {free}:{}",
            taken.container_port
        ),
        None => who,
    };
    error::with_hint(error::conflict(message).context(context), hint)
}
