//! Clients that vote and generate without a pause, and remember what they were told.

use crate::client::{Outcome, Reply, send};
use crate::site::Site;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A vote that the server has confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Confirmed {
    pub(crate) id: String,
    pub(crate) matchup: String,
    pub(crate) choice: &'static str,
}

/// A connection that ended before the response was whole.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) path: String,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// Why a request has no answer that its sender wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NoReply {
    /// Nothing listened.
    NotSent,
    /// It may have had its effect.
    Unclear,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) votes: Vec<Confirmed>,
    /// Images that were returned, with their ids.
    pub(crate) images: Vec<(String, Vec<u8>)>,
    pub(crate) cuts: Vec<Cut>,
    /// Votes without a confirmation: they may be counted or not.
    pub(crate) unclear_votes: usize,
    /// Answers by status.
    pub(crate) statuses: std::collections::BTreeMap<u16, usize>,
    /// Answers that should not be: everything but success, a full queue, and 503.
    pub(crate) wrong: Vec<String>,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) site: Site,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) stop: AtomicBool,
}

impl People {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// The answer to a request. A status that is neither among `fine` nor a refusal for want of capacity is recorded as
    /// wrong.
    pub(crate) fn ask(
        &self,
        path: &str,
        cookie: &str,
        body: Option<&str>,
        fine: &[u16],
    ) -> Result<Reply, NoReply> {
        let began = Instant::now();
        let outcome = send(self.site.address, path, cookie, body);
        let mut seen = self.seen.lock().expect("a lock");
        match outcome {
            Outcome::Answered(reply) => {
                *seen.statuses.entry(reply.status).or_default() += 1;
                if fine.contains(&reply.status) {
                    return Ok(reply);
                }
                if ![429, 503].contains(&reply.status) {
                    let body = String::from_utf8_lossy(&reply.body);
                    seen.wrong.push(format!("{path}: {} {body}", reply.status));
                }
            }
            Outcome::Cut => {
                seen.cuts.push(Cut { path: path.to_owned(), began, ended: Instant::now() });
            }
            Outcome::Refused => {
                drop(seen);
                std::thread::sleep(Duration::from_millis(5));
                return Err(NoReply::NotSent);
            }
        }
        Err(NoReply::Unclear)
    }

    /// Votes until the end, as one rater after the other.
    pub(crate) fn vote(&self, seed: u64) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut cookie = String::new();
        // A matchup whose vote was not confirmed. It may have been counted; if not, the matchup is the next one again.
        let mut unclear = None;
        while self.goes_on() {
            let Ok(next) = self.ask("/api/v1/matchups/next", &cookie, None, &[200]) else { continue };
            if let Some(set) = next.header("set-cookie").and_then(|set| set.split(';').next()) {
                set.clone_into(&mut cookie);
            }
            let next: Value = next.json();
            let Some(matchup) = next["matchup"]["id"].as_str().map(str::to_owned) else {
                cookie.clear();
                continue;
            };
            let choice = ["left", "right", "tie", "both_bad"][rng.random_range(0..4)];
            let path = format!("/api/v1/matchups/{matchup}/vote");
            let body = json!({ "choice": choice }).to_string();
            let lost = unclear.take().is_some_and(|lost: String| lost == matchup);
            let fine: &[u16] = if lost { &[201, 409] } else { &[201] };
            let reply = match self.ask(&path, &cookie, Some(&body), fine) {
                Ok(reply) => reply,
                Err(NoReply::NotSent) => continue,
                Err(NoReply::Unclear) => {
                    self.seen.lock().expect("a lock").unclear_votes += 1;
                    unclear = Some(matchup);
                    continue;
                }
            };
            if reply.status == 201 {
                let id = reply.json()["vote_id"].as_str().expect("an id").to_owned();
                self.seen.lock().expect("a lock").votes.push(Confirmed { id, matchup, choice });
            }
        }
    }

    /// Generates until the end: images that take from milliseconds to seconds.
    pub(crate) fn generate(&self, seed: u64) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        while self.goes_on() {
            let (steps, side) = (rng.random_range(1..80), 8 << rng.random_range(0..4));
            let seed: u32 = rng.random();
            let path = format!("/generate?prompt=a+cat&steps={steps}&width={side}&height={side}&seed={seed}");
            if let Ok(reply) = self.ask(&path, "", None, &[200]) {
                let id = reply.header("x-image-id").expect("an id").to_owned();
                self.seen.lock().expect("a lock").images.push((id, reply.body));
            }
        }
    }
}
