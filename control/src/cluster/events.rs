//! Events for whoever watches a release. They are told, not promised: what does not fit the rate is
//! left out, and a failed one is not tried again, so that events never hold up the engine.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::MANAGER;
use super::call::answer;

/// Events that wait to be sent.
const QUEUE: usize = 256;
/// Events that may be sent at once, and then one for each [`PERIOD`].
const BURST: f64 = 25.0;
/// See [`BURST`].
const PERIOD: Duration = Duration::from_millis(200);
/// The longest note the API server takes, in bytes.
const NOTE: usize = 1024;

/// Tells events.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(ObjectReference, Told)>);

#[derive(Debug)]
struct Told {
    reason: String,
    note: String,
}

/// A bucket of permits that fills with time. Time is passed in.
#[derive(Clone, Debug)]
pub struct Bucket {
    size: f64,
    period: Duration,
    permits: f64,
    at: Instant,
}

// === impl Events ===

impl Events {
    /// Starts the teller.
    pub fn start(client: Client, instance: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let recorder = Recorder::new(client, Reporter { controller: MANAGER.into(), instance: Some(instance) });
        tokio::spawn(tell_all(recorder, receiver));
        Self(sender)
    }

    /// Tells one, or leaves it out when too many wait.
    pub fn tell(&self, about: ObjectReference, reason: &str, note: &str) {
        let event = Told { reason: reason.into(), note: cut(note, NOTE).into() };
        if let Err(error) = self.0.try_send((about, event)) {
            tracing::debug!(%error, "an event is left out");
        }
    }
}

async fn tell_all(recorder: Recorder, mut events: mpsc::Receiver<(ObjectReference, Told)>) {
    let mut bucket = Bucket::new(BURST, PERIOD, Instant::now());
    while let Some((about, event)) = events.recv().await {
        if !bucket.take(Instant::now()) {
            tracing::debug!(event.reason, event.note, "an event is left out");
            continue;
        }
        let type_ = if is_warning(&event.reason) { EventType::Warning } else { EventType::Normal };
        let event = Event {
            type_,
            // The recorder makes a series of equal reasons and would keep the first note: the note is
            // part of what tells them apart.
            action: cut(&format!("{}: {}", event.reason, event.note), 128).into(),
            reason: event.reason,
            note: Some(event.note),
            secondary: None,
        };
        if let Err(error) = answer("an event", recorder.publish(&event, &about)).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an event is left out");
        }
    }
}

/// Whether somebody should look.
fn is_warning(reason: &str) -> bool {
    const WORDS: [&str; 11] = [
        "Fail",
        "Invalid",
        "RollingBack",
        "RolledBack",
        "Abort",
        "TimedOut",
        "Timeout",
        "Ignored",
        "Drift",
        "Refused",
        "Missing",
    ];
    WORDS.iter().any(|word| reason.contains(word))
}

/// The beginning of a text that fits in so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket of `size` permits that gains one each `period`.
    pub fn new(size: f64, period: Duration, now: Instant) -> Self {
        Self { size, period, permits: size, at: now }
    }

    /// Takes a permit, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / self.period.as_secs_f64();
        self.permits = (self.permits + gained).min(self.size);
        self.at = now;
        let has = self.permits >= 1.0;
        if has {
            self.permits -= 1.0;
        }
        has
    }

    /// How long until there is a permit.
    pub fn wait(&self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / self.period.as_secs_f64();
        self.period.mul_f64((1.0 - self.permits - gained).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_for_each_period() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2.0, Duration::from_secs(5), start);
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        assert_eq!(bucket.wait(start), Duration::from_secs(5));
        assert!(!bucket.take(start + Duration::from_secs(4)));
        assert!(bucket.take(start + Duration::from_secs(9)));
    }

    #[test]
    fn a_long_note_is_cut_between_letters() {
        assert_eq!(cut("gré", 3), "gr");
        assert_eq!(cut("gré", 4), "gré");
        assert_eq!(cut("", 4), "");
    }
}
