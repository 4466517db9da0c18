//! Which mirrors of Docker Hub answer, how fast, and what is wrong with the others.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Engine;
use super::registries::{self, Access};
use crate::oci::reference::Reference;
use crate::registry::client::Client;
use crate::registry::endpoint::{Endpoint, Settings};
use crate::registry::failure::Failure;

/// What a place has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Its address, without the path of the protocol.
    pub address: String,
    /// Whether it is the registry itself and no mirror.
    pub is_registry: bool,
    /// What it said.
    pub verdict: Verdict,
}

/// What became of asking a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers after this time, and has the image.
    Answers(Duration),
    /// It answers, and says no to the image; why.
    AnswersWithout(Duration, String),
    /// It does not answer as a registry; why.
    Silent(String),
}

/// Asks all places of the registry of `probe` at the same time, in the order in which a pull asks them.
pub fn test(engine: &Engine, access: &Access, probe: &Reference) -> Result<Vec<Tested>> {
    let endpoints = registries::endpoints(engine, access, &probe.registry)?;
    let last = endpoints.len().saturating_sub(1);
    // A mirror that needs a second attempt is none that one would want.
    let settings = Settings {
        attempts: 1,
        ..access.settings.clone()
    };
    let ask = |endpoint: &Endpoint| -> Verdict {
        let lookup = access.lookup(endpoint.credentials.clone(), Some(&probe.repository));
        match Client::new(endpoint, &settings, lookup, &access.cancel) {
            Ok(client) => verdict(&client, probe),
            Err(error) => Verdict::Silent(crate::error::line(&error)),
        }
    };
    let verdicts: Vec<Verdict> = std::thread::scope(|scope| {
        let asking: Vec<_> = endpoints
            .iter()
            .map(|endpoint| scope.spawn(|| ask(endpoint)))
            .collect();
        let ended = |thread: std::thread::ScopedJoinHandle<'_, Verdict>| {
            let failed = |_| Verdict::Silent("asking it has failed unexpectedly".to_owned());
            thread.join().unwrap_or_else(failed)
        };
        asking.into_iter().map(ended).collect()
    });
    let tested = endpoints.iter().zip(verdicts).enumerate();
    Ok(tested
        .map(|(at, (endpoint, verdict))| Tested {
            address: endpoint.base.trim_end_matches("/v2").to_owned(),
            is_registry: at == last,
            verdict,
        })
        .collect())
}

fn verdict(client: &Client, probe: &Reference) -> Verdict {
    let begin = Instant::now();
    if let Err(failure) = client.ping()
        && !speaks(&failure)
    {
        return Verdict::Silent(match failure.status() {
            Some(404) => "it answers, but not as a registry: there is no /v2/".to_owned(),
            _ => failure.to_string(),
        });
    }
    let time = begin.elapsed();
    let tag = probe
        .tag
        .as_deref()
        .unwrap_or(crate::oci::reference::DEFAULT_TAG);
    match client.resolve(&probe.repository, tag) {
        Ok(Some(_)) => return Verdict::Answers(time),
        Ok(None) => {}
        Err(failure) => return Verdict::AnswersWithout(time, failure.to_string()),
    }
    // Why not is only said to GET.
    match client.fetch(&probe.repository, tag, None) {
        Ok(_) => Verdict::Answers(time),
        Err(failure) => {
            let name = probe.familiar();
            Verdict::AnswersWithout(
                time,
                match failure.status() {
                    Some(404) => format!("it does not have {name}"),
                    Some(401 | 403) => format!("it does not give {name} to everybody: {failure}"),
                    _ => format!("{name}: {failure}"),
                },
            )
        }
    }
}

/// Whether a registry is there, whatever it thinks of us.
fn speaks(failure: &Failure) -> bool {
    matches!(failure.status(), Some(401 | 403 | 429))
}
