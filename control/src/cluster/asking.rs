//! Asks proxies what they run, in the background: often while somebody waits for them, seldom otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::Wake;
use super::cache::lock;
use super::report::Report;
use crate::http::{Ask, Client};

/// Time between questions while somebody waits; more when many are waited for.
const HURRY: Duration = Duration::from_millis(25);
/// Proxies that can be asked at that pace; with twice as many, half as often.
const HURRIED: usize = 24;
/// Time between questions otherwise.
const LEISURE: Duration = Duration::from_secs(2);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// A proxy that has answered before and now says nothing is believed to be away after this. A busy one misses a
/// question now and then, and every release that runs there would write it down, twice.
const SILENCE: Duration = Duration::from_secs(5);
/// Time between questions to one that says nothing.
const AGAIN: Duration = Duration::from_millis(250);
/// Questions at the same time.
const AT_ONCE: usize = 32;
/// A proxy that nobody has looked at for so long is not asked any more.
const INTEREST: Duration = Duration::from_secs(60);
/// How long somebody who waits is taken to wait; looking again prolongs it.
const WAITING: Duration = Duration::from_secs(10);
/// Only what is read: a full page of a busy proxy is megabytes. The regular expression is
/// `graylane_config_|^server\.concurrency$`.
pub const PAGE: &str = "/stats/prometheus?filter=graylane_config_%7C%5Eserver%5C.concurrency%24";

/// What a proxy last answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was asked.
    pub asked: Instant,
    /// What it said, or why it said nothing.
    pub report: Result<Report, String>,
}

/// Asks proxies.
#[derive(Clone, Debug)]
pub struct Asking(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    targets: Mutex<HashMap<String, Target>>,
    at_once: Semaphore,
    wake: Wake,
}

#[derive(Debug)]
struct Target {
    answer: Option<Answer>,
    /// When it was asked first of all the questions that it has not answered since the last answer.
    silent_since: Option<Instant>,
    wanted_until: Instant,
    hurry_until: Instant,
    hurry: Arc<Notify>,
}

// === impl Asking ===

impl Asking {
    /// Wakes the loop when a proxy says something new.
    pub fn new(wake: &Wake) -> Self {
        Self(Arc::new(Inner { targets: Mutex::default(), at_once: Semaphore::new(AT_ONCE), wake: wake.clone() }))
    }

    /// What the proxy at an address last answered. From now on it is asked.
    pub fn look(&self, address: &str, now: Instant) -> Option<Answer> {
        let mut targets = lock(&self.0.targets);
        if let Some(target) = targets.get_mut(address) {
            target.wanted_until = now + INTEREST;
            return target.answer.clone();
        }
        let hurry = Arc::new(Notify::new());
        targets.insert(address.to_owned(), Target::new(now, Arc::clone(&hurry)));
        drop(targets);
        tokio::spawn(Arc::clone(&self.0).ask_again_and_again(address.to_owned(), hurry));
        None
    }

    /// Somebody waits for this proxy.
    pub fn hurry(&self, address: &str, now: Instant) {
        if let Some(target) = lock(&self.0.targets).get_mut(address) {
            if target.hurry_until < now {
                target.hurry.notify_one();
            }
            target.hurry_until = now + WAITING;
        }
    }
}

// === impl Inner ===

impl Inner {
    async fn ask_again_and_again(self: Arc<Self>, address: String, hurry: Arc<Notify>) {
        let mut client = Client::new(&address, PATIENCE);
        loop {
            let report = {
                // A closed semaphore does not happen; without a permit the question is asked all the same.
                let _permit = self.at_once.acquire().await.ok();
                let asked = Instant::now();
                Answer { asked, report: ask(&mut client).await }
            };
            let Some(pause) = self.answered(&address, report) else { return };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = hurry.notified() => {}
            }
        }
    }

    /// Keeps an answer. Returns how long to wait before the next question, if there is to be one.
    fn answered(&self, address: &str, answer: Answer) -> Option<Duration> {
        let now = Instant::now();
        let mut targets = lock(&self.targets);
        let hurried = targets.values().filter(|target| target.hurry_until > now).count();
        let target = targets.get_mut(address)?;
        if target.wanted_until < now {
            targets.remove(address);
            return None;
        }
        let is_news = target.take(answer, now);
        let pause = if target.hurry_until > now {
            HURRY * u32::try_from(hurried.div_ceil(HURRIED)).unwrap_or(1)
        } else if target.silent_since.is_some() {
            AGAIN
        } else {
            LEISURE
        };
        drop(targets);
        if is_news {
            self.wake.up();
        }
        Some(pause)
    }
}

// === impl Target ===

impl Target {
    fn new(now: Instant, hurry: Arc<Notify>) -> Self {
        let (wanted_until, hurry_until) = (now + INTEREST, now + WAITING);
        Self { answer: None, silent_since: None, wanted_until, hurry_until, hurry }
    }

    /// Takes an answer, or that there was none. True when that is news.
    ///
    /// What is kept of a proxy that misses a question says when it was asked: it confirms nothing that was
    /// pushed since.
    fn take(&mut self, answer: Answer, now: Instant) -> bool {
        self.silent_since = answer.report.is_err().then(|| self.silent_since.unwrap_or(answer.asked));
        let is_short = self.silent_since.is_some_and(|since| now.saturating_duration_since(since) < SILENCE);
        if is_short && self.answer.as_ref().is_some_and(|before| before.report.is_ok()) {
            return false;
        }
        let is_news = self.answer.as_ref().is_none_or(|before| before.report != answer.report);
        self.answer = Some(answer);
        is_news
    }
}

async fn ask(client: &mut Client) -> Result<Report, String> {
    let answer = client.ask(&Ask::get(PAGE)).await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("answers {}", answer.status.as_u16()));
    }
    Ok(Report::read(&String::from_utf8_lossy(&answer.body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A proxy that says one generation more with each question.
    async fn proxy() -> (String, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let page = move || {
            let generation = counter.fetch_add(1, Ordering::SeqCst) + 1;
            std::future::ready(format!("graylane_config_generation{{role=\"gateway\"}} {generation}\n"))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = axum::Router::new().route("/stats/prometheus", axum::routing::get(page));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, asked)
    }

    #[test]
    fn a_missed_question_takes_nothing_back_and_a_lasting_silence_is_told() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let answer = |millis, report| Answer { asked: at(millis), report };
        let well = || Ok(Report { concurrency: Some(2), ..Report::default() });
        let silence = || Err("no answer".to_owned());
        let mut target = Target::new(begun, Arc::default());
        assert!(target.take(answer(0, well()), at(10)));
        assert!(!target.take(answer(2_000, silence()), at(3_000)), "one question was missed");
        assert!(!target.take(answer(3_250, well()), at(3_260)), "it says what it said before");
        assert!(!target.take(answer(5_000, silence()), at(6_000)));
        let kept = target.answer.clone().unwrap();
        assert_eq!((kept.report, kept.asked), (well(), at(3_250)), "it was heard then, and not since");
        assert!(!target.take(answer(8_000, silence()), at(9_000)));
        assert!(target.take(answer(9_250, silence()), at(10_250)), "it has said nothing for five seconds");
        assert!(target.answer.as_ref().unwrap().report.is_err());
        assert!(target.take(answer(11_000, well()), at(11_010)), "it is back");
    }

    #[test]
    fn a_proxy_that_never_answered_is_told_at_once() {
        let now = Instant::now();
        let mut target = Target::new(now, Arc::default());
        assert!(target.take(Answer { asked: now, report: Err("refused".into()) }, now));
    }

    #[tokio::test]
    async fn a_proxy_is_asked_in_the_background_and_news_wake_the_loop() {
        let wake = Wake::default();
        let asking = Asking::new(&wake);
        let (address, _) = proxy().await;
        assert!(asking.look(&address, Instant::now()).is_none());
        for wanted in 1..5 {
            tokio::time::timeout(Duration::from_secs(10), async {
                loop {
                    let answer = asking.look(&address, Instant::now());
                    if answer.is_some_and(|one| one.report.unwrap().roles["gateway"].generation >= wanted) {
                        break;
                    }
                    wake.wait().await;
                }
            })
            .await
            .unwrap();
        }
    }

    #[tokio::test]
    async fn a_proxy_that_cannot_be_reached_says_so() {
        let wake = Wake::default();
        let asking = Asking::new(&wake);
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        asking.look(&closed, Instant::now());
        tokio::time::timeout(Duration::from_secs(10), wake.wait()).await.unwrap();
        let answer = asking.look(&closed, Instant::now()).unwrap();
        assert!(answer.report.unwrap_err().contains("cannot connect"));
    }
}
