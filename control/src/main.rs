//! The `graylane` binary, also called `kubectl-graylane`.

use std::process::ExitCode;

fn main() -> ExitCode {
    graylane::cli::run()
}
