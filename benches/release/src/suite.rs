//! Many releases at once, the same ones however many threads there are.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::record::Record;
use crate::run::{Drive, run};
use crate::scenario::Scenario;

/// First seed that nothing was tuned on. Whoever looks at single releases of these, or changes a setting after having
/// seen their figures, moves it to [`BURNT`] and takes the next power of two.
pub const HELD_OUT: u64 = 1 << 41;
/// First seed that was held out once: changes of the judge were made after its figures had been seen. For tuning.
pub const BURNT: u64 = 1 << 40;
/// First seed for choosing settings, and of the tests.
pub const TUNING: u64 = 1;

/// Runs all scenarios; the records come in their order.
pub fn run_all(scenarios: &[Scenario], drive: Drive) -> Vec<Record> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(at) else { return done };
            done.push((at, run(scenario, drive)));
        }
    };
    let mut records: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    records.sort_by_key(|(at, _)| *at);
    records.into_iter().map(|(_, record)| record).collect()
}

/// So many good and bad releases, from a seed on.
pub fn releases(first: u64, good: u64, bad: u64) -> Vec<Scenario> {
    (0..good).map(|at| Scenario::good(first + at)).chain((0..bad).map(|at| Scenario::bad(first + at))).collect()
}
