//! The budgets that cost nothing to check. `make bench` checks the others.

use graylane_benches::budget::Budgets;
use graylane_benches::story;

#[test]
fn a_request_makes_the_host_calls_of_its_budget_and_no_other() {
    let budgets = Budgets::read().unwrap();
    let mut gate = budgets.gate();
    for story in story::all() {
        let calls = story.host_calls();
        gate.hold(&format!("calls/{}", story.name), calls.iter().map(|(_, count)| u64::from(*count)).sum());
        for (kind, count) in calls {
            gate.hold(&format!("calls/{}/{kind}", story.name), u64::from(count));
        }
    }
    gate.end("calls/").unwrap_or_else(|error| panic!("{error}"));
}
