//! Asks Prometheus the questions of releases in the background, one task for each release, for as long
//! as somebody wants the answers. Whoever looks gets what is known and never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::Uri;

use super::question::{self, Answer, Asked, Standing};
use crate::causes::chain;
use crate::clock::now_ms;
use crate::engine::Millis;
use crate::http::{Ask, Client};
use crate::release::Release;
use crate::release::analysis::Objective;

/// Time between two askings of a question.
const PERIOD: Duration = Duration::from_secs(5);
/// Until the first answers are known.
const EAGER: Duration = Duration::from_millis(500);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A release whose answers nobody has wanted for so long is not asked for any more.
const INTEREST: Duration = Duration::from_secs(60);

/// Asks. Cheap to clone; asking ends with the last clone.
#[derive(Clone, Debug, Default)]
pub struct Questions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    boards: Mutex<HashMap<String, Board>>,
}

#[derive(Debug)]
struct Board {
    wanted_until: Instant,
    questions: Arc<Vec<Question>>,
    asked: Asked,
}

/// What is asked, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    index: usize,
    objective: String,
    lane: String,
    /// `host:port`.
    host: String,
    path: String,
}

// === impl Questions ===

impl Questions {
    /// What is known of a release's questions. From now on they are asked. Needs a tokio runtime.
    pub fn look(&self, release: &Release) -> Asked {
        let Some(questions) = questions(release) else { return Asked::default() };
        let now = Instant::now();
        let mut boards = self.0.boards();
        if let Some(board) = boards.get_mut(&release.id()).filter(|board| *board.questions == questions) {
            board.wanted_until = now + INTEREST;
            return board.asked.clone();
        }
        let questions = Arc::new(questions);
        let asked = Asked { unknown: Some("Prometheus is being asked".into()), ..Asked::default() };
        let board = Board { wanted_until: now + INTEREST, questions: Arc::clone(&questions), asked: asked.clone() };
        boards.insert(release.id(), board);
        tokio::spawn(ask_again_and_again(Arc::downgrade(&self.0), release.clone(), questions));
        asked
    }
}

/// The questions of a release; none if it has none.
fn questions(release: &Release) -> Option<Vec<Question>> {
    let analysis = release.plan.analysis.as_ref()?;
    let address: Uri = analysis.prometheus.as_ref()?.parse().ok()?;
    let host = format!("{}:{}", address.host()?, address.port_u16().unwrap_or(80));
    let objectives = analysis.objectives.iter().enumerate();
    let all = objectives.flat_map(|(index, objective)| {
        let host = &host;
        let base = address.path().trim_end_matches('/');
        question::lanes(objective, release).into_iter().map(move |lane| Question {
            index,
            objective: objective.name.clone(),
            lane: lane.to_owned(),
            host: host.clone(),
            path: path(base, objective, release, lane),
        })
    });
    Some(all.collect()).filter(|all: &Vec<Question>| !all.is_empty())
}

fn path(base: &str, objective: &Objective, release: &Release, lane: &str) -> String {
    let query = question::fill(&objective.query, release, lane);
    let timeout = format!("{}s", PATIENCE.as_secs());
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("query", &query).append_pair("timeout", &timeout);
    format!("{base}/api/v1/query?{}", pairs.finish())
}

// === impl Inner ===

impl Inner {
    fn boards(&self) -> MutexGuard<'_, HashMap<String, Board>> {
        // What is in there is whole after every statement.
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a round of answers. False once nobody wants them, or other questions are asked instead.
    fn keep(&self, release: &Release, questions: &Arc<Vec<Question>>, answers: &[Answer]) -> bool {
        let mut boards = self.boards();
        let id = release.id();
        let Some(board) = boards.get_mut(&id).filter(|board| Arc::ptr_eq(&board.questions, questions)) else {
            return false;
        };
        if board.wanted_until < Instant::now() {
            boards.remove(&id);
            return false;
        }
        take(&mut board.asked, release, questions, answers, now_ms());
        true
    }
}

/// Takes a round of answers.
fn take(asked: &mut Asked, release: &Release, questions: &[Question], answers: &[Answer], now: Millis) {
    asked.problems.clear();
    let mut away = None;
    for (question, answer) in questions.iter().zip(answers) {
        let key = (question.objective.clone(), question.lane.clone());
        let standing: &mut Standing = asked.answers.entry(key).or_default();
        standing.take(answer, now);
        match answer {
            Answer::Useless(why) => {
                let problem = question::problem(release, question.index, why);
                if !asked.problems.contains(&problem) {
                    asked.problems.push(problem);
                }
            }
            Answer::Away(why) => {
                away.get_or_insert_with(|| format!("Prometheus at {} does not answer: {why}", question.host));
            }
            Answer::Number(_) | Answer::Nothing(_) => {}
        }
    }
    asked.unknown = away;
}

async fn ask_again_and_again(inner: Weak<Inner>, release: Release, questions: Arc<Vec<Question>>) {
    let mut client = None;
    loop {
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions.iter() {
            let client = client.get_or_insert_with(|| Client::new(&question.host, PATIENCE));
            answers.push(ask(client, question).await);
        }
        let is_known = answers.iter().all(|answer| !matches!(answer, Answer::Away(_)));
        let goes_on = inner.upgrade().is_some_and(|inner| inner.keep(&release, &questions, &answers));
        if !goes_on {
            return;
        }
        tokio::time::sleep(if is_known { PERIOD } else { EAGER }).await;
    }
}

async fn ask(client: &mut Client, question: &Question) -> Answer {
    match client.ask(&Ask::get(&question.path)).await {
        Ok(answer) => question::read(answer.status.as_u16(), &answer.body),
        Err(error) => Answer::Away(chain(&error)),
    }
}
