//! Names of releases, for a shell that completes one.

use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::{Home, Place, block_on};
use crate::view::glance;

/// A person who has pressed a key waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// The releases of the place that is named on the command line so far, each with how it stands; none
/// when it cannot be asked.
pub(in crate::cli) fn candidates() -> Vec<CompletionCandidate> {
    let place = typed(std::env::args());
    let all = block_on(async {
        let asked = async { Home::open(&place, false).await?.list(None).await };
        tokio::time::timeout(PATIENCE, asked).await?
    });
    let candidate = |kept: super::Kept| {
        let words = glance::line(&kept);
        CompletionCandidate::new(kept.name).help(Some(words.into()))
    };
    all.unwrap_or_default().into_iter().map(candidate).collect()
}

/// The place that these words name. What is being typed cannot be read as a whole command yet.
fn typed(words: impl Iterator<Item = String>) -> Place {
    let mut place = Place::default();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let known = ["--local", "-n", "--namespace", "--context", "--kubeconfig", "--as"];
        if !known.contains(&flag.as_str()) {
            continue;
        }
        let Some(value) = value.or_else(|| words.next()) else { break };
        match flag.as_str() {
            "--local" => place.local = Some(value.into()),
            "--context" => place.kube.context = Some(value),
            "--kubeconfig" => place.kube.kubeconfig = Some(value.into()),
            "--as" => place.kube.act_as = Some(value),
            _ => place.kube.namespace = Some(value),
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_from_a_command_that_is_not_finished() {
        let words = "graylane -- graylane promote --full -n shop --kubeconfig=/k --local";
        let place = typed(words.split(' ').map(str::to_owned));
        assert_eq!(place.kube.namespace.as_deref(), Some("shop"));
        assert_eq!(place.kube.kubeconfig, Some("/k".into()));
        assert_eq!(place.local, None, "what it is has not been typed yet");
    }
}
