//! Many at once on one store.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fake::{Fake, Image};
use super::{layers, parts};
use crate::sandbox::Sandbox;

#[test]
fn pulls_prunes_and_runs_at_once_lose_nothing_and_fetch_once() {
    let sandbox = Sandbox::new();
    let image = Image::of(&[3_000_000, 2_000_000, 1_000_000, 4_000]);
    let served = image.clone();
    let fake = Fake::start(&sandbox, move |request| served.answer(request));
    let pulled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..8)
            .map(|number| {
                let name = format!("{}/x:{}", fake.address, number % 4);
                let sandbox = &sandbox;
                scope.spawn(move || sandbox.ok(&["pull", &name]))
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !pulled.load(Ordering::Relaxed) {
                    sandbox.ok(&["image", "prune", "-f"]);
                }
            });
        }
        scope.spawn(|| {
            while !pulled.load(Ordering::Relaxed) {
                let run = ["run", "--rm", "--network", "none", "busybox", "echo", "hi"];
                assert_eq!(sandbox.ok(&run), "hi");
            }
        });
        for pull in pulls {
            let result = pull.join();
            pulled.fetch_or(result.is_err(), Ordering::Relaxed);
            let said = result.unwrap();
            assert!(said.contains("Digest: sha256:"), "{said}");
        }
        pulled.store(true, Ordering::Relaxed);
    });
    for digest in image.layers.iter().chain([&image.config]) {
        let asked = fake.asked("GET", digest).len();
        assert_eq!(asked, 1, "{digest} was fetched {asked} times");
    }
    assert!(parts(&sandbox).is_empty());
    assert_eq!(layers(&sandbox).len(), image.layers.len() + 1);
    for number in 0..4 {
        let name = format!("{}/x:{number}", fake.address);
        sandbox.ok(&["save", "-o", "saved.tar", &name]);
    }
}
