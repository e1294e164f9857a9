//! The `graylane` binary, also called `kubectl-graylane`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before the first connection: with a second provider compiled in by some dependency there would be no
    // default. It fails only if there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    graylane::cli::run()
}
