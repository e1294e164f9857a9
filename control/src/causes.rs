//! Errors in words.

/// An error with its causes, `outer: inner`; a log in JSON would show the first of them only.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
