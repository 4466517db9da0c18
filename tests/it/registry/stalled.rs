//! Transfers that stop, start again, or never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fake::{Answer, Fake, Image, Seen};
use super::{layers, parts};
use crate::sandbox::{Ran, Sandbox};

/// Counts up and returns how often it was called before.
fn counter() -> impl Fn() -> usize + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move || count.fetch_add(1, Ordering::Relaxed)
}

/// Pulls with little patience, which is still enough for a busy machine.
fn pull(sandbox: &Sandbox, name: &str) -> Ran {
    let mut command = sandbox.aril_command(&["pull", name]);
    command.env("ARIL_STALL_TIMEOUT", "3");
    sandbox.run(command)
}

#[test]
fn a_silent_connection_is_made_anew_where_it_stopped() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[900_000]));
    let served = Arc::clone(&image);
    let stalls = counter();
    let fake = Fake::start(&sandbox, move |request| {
        let mut answer = served.answer(request);
        if request.path.contains(&served.layers[0]) && stalls() < 2 {
            answer.stall = Some(300_000);
        }
        answer
    });
    let said = pull(&sandbox, &format!("{}/x", fake.address)).ok();
    assert!(said.contains("Retrying in 1 second"), "{said}");
    let asked = fake.asked("GET", &image.layers[0]);
    let starts: Vec<_> = asked.iter().map(Seen::range).collect();
    assert_eq!(starts, [None, Some(300_000), Some(600_000)]);
}

#[test]
fn a_registry_that_stays_silent_is_given_up_and_what_came_is_kept() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[900_000]));
    let served = Arc::clone(&image);
    let heals = counter();
    let healed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_healed = Arc::clone(&healed);
    let fake = Fake::start(&sandbox, move |request| {
        let mut answer = served.answer(request);
        if request.path.contains(&served.layers[0]) && !is_healed.load(Ordering::Relaxed) {
            let first = heals() == 0;
            answer.stall = Some(if first { 400_000 } else { 0 });
        }
        answer
    });
    let name = format!("{}/x", fake.address);
    sandbox.configure("{\"max-download-attempts\": 2}");
    pull(&sandbox, &name).fails(1, "no data came for too long: i/o timeout");
    assert_eq!(
        parts(&sandbox)
            .iter()
            .map(|part| part.metadata().unwrap().len())
            .max(),
        Some(400_000)
    );
    healed.store(true, Ordering::Relaxed);
    pull(&sandbox, &name).ok();
    let asked = fake.asked("GET", &image.layers[0]);
    assert_eq!(asked.last().unwrap().range(), Some(400_000));
    assert!(parts(&sandbox).is_empty());
}

#[test]
fn a_registry_that_does_not_have_the_range_is_asked_for_all() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[900_000]));
    let served = Arc::clone(&image);
    let cuts = counter();
    let fake = Fake::start(&sandbox, move |request| {
        if request.range().is_some() {
            return Answer::new(416);
        }
        let mut answer = served.answer(request);
        if request.path.contains(&served.layers[0]) && cuts() == 0 {
            answer.cut = Some(300_000);
        }
        answer
    });
    pull(&sandbox, &format!("{}/x", fake.address)).ok();
    let asked = fake.asked("GET", &image.layers[0]);
    let starts: Vec<_> = asked.iter().map(Seen::range).collect();
    assert_eq!(starts, [None, Some(300_000), None]);
}

#[test]
fn a_body_without_an_end_is_read_no_further_than_was_promised() {
    let sandbox = Sandbox::bare();
    let image = Arc::new(Image::of(&[900_000]));
    for more in [0, 1, 50_000_000] {
        let served = Arc::clone(&image);
        let fake = Fake::start(&sandbox, move |request| {
            let mut answer = served.answer(request);
            answer.endless = true;
            if request.path.contains("/blobs/") {
                let size = answer.body.len();
                answer.body.resize(size + more, b'x');
            }
            answer
        });
        let name = format!("{}/x", fake.address);
        let ran = pull(&sandbox, &name);
        if more == 0 {
            ran.ok();
            sandbox.ok(&["rmi", &name]);
        } else {
            ran.fails(1, "more came than was promised");
        }
        assert!(layers(&sandbox).is_empty());
        for part in parts(&sandbox) {
            assert!(part.metadata().unwrap().len() <= 1_000_000);
        }
    }
    // One that ends too early is as good as cut.
    let served = Arc::clone(&image);
    let cuts = counter();
    let fake = Fake::start(&sandbox, move |request| {
        let mut answer = served.answer(request);
        if request.path.contains(&served.layers[0]) && cuts() == 0 {
            answer.endless = true;
            answer.body.truncate(300_000);
        }
        answer
    });
    pull(&sandbox, &format!("{}/x", fake.address)).ok();
    let asked = fake.asked("GET", &image.layers[0]);
    assert_eq!(asked.last().unwrap().range(), Some(300_000));
}

#[test]
fn a_wait_that_a_registry_asks_for_ends_on_demand() {
    let sandbox = Sandbox::bare();
    let fake = Fake::start(&sandbox, |_| Answer::new(429).with("Retry-After", "999999"));
    let mut pull = sandbox.spawn(&["pull", &format!("{}/x", fake.address)]);
    crate::sandbox::wait_until("it has asked for the manifest", || {
        !fake.asked("GET", "/manifests/").is_empty()
    });
    let begun = Instant::now();
    pull.signal(rustix::process::Signal::INT);
    let ran = pull.wait();
    assert_eq!((ran.code, ran.err.as_str()), (130, ""));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
