//! One release on the chain, from its begin to what becomes of it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use graylane::demo::stage::Stage;
use graylane::engine::request::Verb;
use graylane::engine::status::{Phase, Status};
use graylane_analysis::FaultKind;

use super::Trouble;
use super::crowd::{Crowd, Met};

/// The lane gets a tenth, and nobody but the analysis decides.
const STEPS: &str = "[{weight: 10%}, {analysis: {duration: 10m}}, {weight: 100%}]";
/// How long trouble may stay unseen.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a good release is watched.
const GOOD: Duration = Duration::from_secs(30);
/// Traffic goes on for so long afterwards, to see the lane's last request.
const AFTER: Duration = Duration::from_secs(2);

/// What became of a release.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What was wrong with it.
    pub trouble: Trouble,
    /// From the first bad request to the decision, if there was one.
    pub ended_s: Option<Duration>,
    /// From the first bad request to the last one that a canary answered.
    pub last_s: Option<Duration>,
    /// Whether it was taken back (else it was paused, or nothing happened).
    pub is_taken_back: bool,
    /// The release's last word.
    pub said: String,
    /// Who was named, and how it failed.
    pub named: Option<(String, String, FaultKind)>,
    /// Requests that failed.
    pub failed: u64,
    /// All requests.
    pub sent: u64,
    /// How many requests the verdict names.
    examples: usize,
    /// What the verdict rests on, for whoever wonders about it.
    evidence: String,
}

/// Runs a release with this trouble.
///
/// # Errors
/// When the release does not begin or does not leave.
pub async fn run(stage: &mut Stage, trouble: Trouble, seed: u64) -> Result<Trial> {
    let crowd = Crowd::start(&stage.entry(true), trouble, seed);
    begin(stage, &trouble, seed).await?;
    let status = watch(stage, if trouble.fault.is_some() { PATIENCE } else { GOOD }).await?;
    tokio::time::sleep(AFTER).await;
    let met = crowd.stop().await?;
    let trial = Trial::new(trouble, &status, &met);
    if !status.phase.is_finished() {
        stage.ask(Verb::Abort)?;
        stage.until("everybody to be on stable", |status| status.phase.is_finished()).await?;
    }
    Ok(trial)
}

/// Begins a release that is judged as shipped.
async fn begin(stage: &mut Stage, trouble: &Trouble, seed: u64) -> Result<()> {
    let frontend = if trouble.is_alone { ", lanes: []" } else { "" };
    let spec = if trouble.spec.contains("analysis") { "" } else { "  analysis: {}\n" };
    let text = format!(
        "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {{name: trial-{seed}, namespace: shop}}\nspec:\n  \
         group: shop\n  lanes: [{{name: canary}}]\n  members:\n  \
         - {{service: frontend, hosts: [127.0.0.1, localhost, shop.example.com]{frontend}}}\n  \
         - {{service: cart, lanes: []}}\n  - {{service: orders}}\n  - {{service: payment, lanes: []}}\n  \
         stickiness: {{unit: [{{header: x-user-id}}]}}\n  steps: {STEPS}\n  promotion: {{strategy: manual}}\n{spec}  {}\n",
        trouble.spec
    );
    stage.change_release(&format!("shop/trial-{seed}"), &text).await
}

/// Waits until the release is stopped, or for as long as that may take.
async fn watch(stage: &Stage, patience: Duration) -> Result<Status> {
    let start = Instant::now();
    loop {
        let status = stage.status()?;
        ensure!(status.phase != Phase::Succeeded, "a release that nobody promoted has succeeded");
        let is_stopped = matches!(status.phase, Phase::Paused | Phase::RolledBack);
        if is_stopped || start.elapsed() > patience {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// === impl Trial ===

impl Trial {
    fn new(trouble: Trouble, status: &Status, met: &[Met]) -> Self {
        let first = met.iter().find(|met| met.is_bad).map(|met| met.sent);
        let since = |time: SystemTime| first.and_then(|first| time.duration_since(first).ok());
        let decided = status.failure.as_ref().map(|failure| failure.decided_ms);
        let paused = status.pause.as_ref().map(|pause| pause.since_ms);
        let ended = decided.or(paused).map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let last = met.iter().rfind(|met| met.in_lane).map(|met| met.sent);
        let fault = status.failure.as_ref().and_then(|failure| failure.fault.as_ref());
        Self {
            trouble,
            // The decision of a good release has no first bad request to be measured from.
            ended_s: ended.map(|ended| since(ended).unwrap_or_default()),
            last_s: last.and_then(since),
            is_taken_back: status.phase == Phase::RolledBack,
            said: status.history.last().map_or_else(|| status.message.clone(), |entry| entry.message.clone()),
            named: fault.map(|fault| (fault.service.clone(), fault.lane.clone(), fault.kind)),
            failed: met.iter().map(|met| u64::from(met.failed)).sum(),
            sent: met.len() as u64,
            examples: fault.map_or(0, |fault| fault.traces.len()),
            evidence: serde_json::to_string(&status.analysis).unwrap_or_else(|error| error.to_string()),
        }
    }

    /// Whether what had to happen did: a failing version is taken back and named, with requests to look at; where the context is
    /// dropped, the release is paused, or taken back, and says who drops it.
    pub fn is_right(&self) -> bool {
        match self.trouble.fault {
            None => self.ended_s.is_none(),
            Some((service, "")) => self.ended_s.is_some() && self.said.contains(service),
            Some((service, lane)) => {
                let wanted = (service, lane, self.trouble.kind);
                let named =
                    self.named.as_ref().is_some_and(|(at, of, kind)| (at.as_str(), of.as_str(), *kind) == wanted);
                // Where no caller has a version in the lane, nothing that failed above is the lane's.
                let has_examples = self.examples > 0 || self.trouble.is_alone;
                self.is_taken_back && named && has_examples
            }
        }
    }

    /// One line for the screen.
    pub fn line(&self) -> String {
        let seconds = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.1} s", time.as_secs_f64()));
        let evidence = if self.is_right() { String::new() } else { format!("\n    {}", self.evidence) };
        format!(
            "  {:<40} decided {:>7}  lane's last {:>7}  failed {:>3} of {:>5}  {}  {} ({} traces): {}{evidence}",
            self.trouble.name,
            seconds(self.ended_s),
            seconds(self.last_s),
            self.failed,
            self.sent,
            if self.is_right() { "right" } else { "WRONG" },
            self.named
                .as_ref()
                .map_or_else(|| "-".into(), |(service, lane, kind)| format!("{service} {lane} {kind:?}")),
            self.examples,
            self.said,
        )
    }
}
