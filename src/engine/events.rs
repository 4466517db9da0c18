//! `events`: which of the things that happened, and happen, are wanted.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Engine;
use super::filter::Filters;
use crate::docker::system::Event;
use crate::error;
use crate::event::{self, Follower};

/// Actions whose name goes on after a colon.
const OPEN_ACTIONS: [&str; 3] = ["exec_create", "exec_start", "health_status"];

/// A moment, and the text of it that docker's client sends, which errors repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it is.
    pub time: Timestamp,
    /// Seconds since 1970.
    pub text: String,
}

/// From when to when; without an end only what happens from now on, without a beginning all up to the end.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Inclusive.
    pub since: Option<Moment>,
    /// Inclusive.
    pub until: Option<Moment>,
}

/// Calls `each` for every event that is wanted, oldest first, until `until` has passed or `each` says by returning false
/// that it is enough. As with docker, filters by what events do not have leave nothing out.
pub fn events(
    engine: &Engine,
    span: Span,
    filters: &Filters,
    each: &mut dyn FnMut(&Event) -> Result<bool>,
) -> Result<()> {
    if let (Some(since), Some(until)) = (&span.since, &span.until)
        && since.time > until.time
    {
        return Err(error::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            since.text, until.text
        )));
    }
    let now = Timestamp::now();
    let [since, until] = [span.since, span.until].map(|moment| moment.map(|moment| moment.time));
    let since = match (since, until) {
        (Some(since), _) => event::nanoseconds(since),
        (None, Some(_)) => 0,
        (None, None) => event::nanoseconds(now),
    };
    let last = until.map_or(i64::MAX, event::nanoseconds);
    // Before the first look, so that nothing happens unseen between the two.
    let mut follower = Follower::new(&engine.dirs)?;
    loop {
        for event in follower.read()? {
            let wanted = (since..=last).contains(&event.time_nano) && includes(filters, &event);
            if wanted && !each(&for_old_clients(event))? {
                return Ok(());
            }
        }
        let left = until.map(|until| until.duration_since(Timestamp::now()));
        if left.is_some_and(|left| !left.is_positive()) {
            return Ok(());
        }
        let timeout = left.map(|left| Timespec {
            tv_sec: left.as_secs(),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&follower, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for events"),
        }
    }
}

/// Says what old clients look for; the journal does not say things twice.
fn for_old_clients(mut event: Event) -> Event {
    if matches!(event.kind.as_str(), "container" | "image") {
        event.status = event.action.clone();
        event.id = event.actor.id.clone();
    }
    if event.kind == "container" {
        let image = event.actor.attributes.get("image");
        event.from = image.cloned().unwrap_or_default();
    }
    event
}

/// Returns whether an event is wanted, by docker's rules: some keys take the beginning of what they mean.
fn includes(filters: &Filters, event: &Event) -> bool {
    let attributes = &event.actor.attributes;
    let attribute = |name: &str| attributes.get(name).map_or("", String::as_str);
    let (id, name) = (event.actor.id.as_str(), attribute("name"));
    let begins = |key: &str, texts: [&str; 2]| {
        filters.any(key, |wanted| {
            texts
                .iter()
                .any(|text| !text.is_empty() && text.starts_with(wanted))
        })
    };
    let open = filters.values("event").any(|v| OPEN_ACTIONS.contains(&v));
    let action = if open {
        filters.any("event", |wanted| event.action.starts_with(wanted))
    } else {
        filters.equals("event", &event.action)
    };
    let image = if event.kind == "image" {
        name
    } else {
        attribute("image")
    };
    action
        && filters.equals("type", &event.kind)
        && (event.scope.is_empty() || filters.equals("scope", &event.scope))
        && begins("container", [id, name])
        && begins("daemon", [id, name])
        && begins("plugin", [id, name])
        && begins("volume", [id, name])
        && begins("network", [id, name])
        && filters.any("image", |wanted| {
            [id, image, without_tag(id), without_tag(image)].contains(&wanted)
        })
        && filters.labels("label", attributes)
        // What only a swarm has happens to nothing here.
        && ["config", "node", "secret", "service"].iter().all(|key| !filters.has(key))
}

/// `name:tag` and `sha256:…` without what follows the last colon of the last part.
fn without_tag(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::system::Actor;

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor {
                id: id.to_owned(),
                attributes: attributes
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            },
            scope: "local".to_owned(),
            ..Event::default()
        }
    }

    #[test]
    fn filters_are_dockers() {
        let start = event(
            "container",
            "start",
            "abcdef",
            &[("name", "web"), ("image", "nginx:1"), ("tier", "front")],
        );
        let exec = event(
            "container",
            "exec_create: sh -c x",
            "abcdef",
            &[("name", "web")],
        );
        let tag = event("image", "tag", "sha256:12", &[("name", "nginx:1")]);
        for (list, event, want) in [
            (&[][..], &start, true),
            (&[("container", "web")], &start, true),
            (&[("container", "abc")], &start, true),
            (&[("container", "eb")], &start, false),
            (&[("container", "web")], &tag, false),
            (&[("event", "start"), ("event", "die")], &start, true),
            (&[("event", "star")], &start, false),
            (&[("event", "exec_create")], &exec, true),
            (&[("image", "nginx")], &start, true),
            (&[("image", "nginx:1")], &start, true),
            (&[("image", "nginx:2")], &start, false),
            (&[("image", "nginx")], &tag, true),
            (&[("type", "image")], &start, false),
            (&[("label", "tier=front")], &start, true),
            (&[("label", "tier=back")], &start, false),
            (&[("scope", "swarm")], &start, false),
            (&[("node", "x")], &start, false),
        ] {
            let mut filters = Filters::default();
            for (key, value) in list {
                filters.add(key, value);
            }
            assert_eq!(includes(&filters, event), want, "{list:?} {}", event.action);
        }
    }
}
