//! Wall clock of the core's operations. On a shared machine it is only a report; the budgets are in
//! instructions.

use criterion::Criterion;
use graylane_benches::operations;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .configure_from_args();
    for operation in operations::all() {
        let mut run = (operation.prepare)();
        criterion.bench_function(&operation.name, |bencher| bencher.iter(&mut run));
    }
    criterion.final_summary();
}
