//! What a rater's desk knows and does: the pair shown, what follows, answers on their way, and taking back the last one.

use crate::api::{self, ApiResult, Failure};
use crate::components::desk_answer::{images_are_shown, said, scrolls, sent};
use crate::components::desk_queue::{self, Unsent};
use domain::api::{BlindMatchup, DeskRequest, Drawing, NextMatchup, campaign_desk_page};
use domain::id::MatchupId;
use domain::preference::Choice;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::ops::ControlFlow;
use std::time::Duration;

/// Milliseconds after a pair has appeared in which nothing answers it: a second press was meant for the pair before.
const GUARD: f64 = 400.0;

/// How long the desk waits before it sends an answer again that did not arrive.
const RETRY: Duration = Duration::from_secs(2);

/// The zooms, in the order of the key.
const ZOOMS: [u8; 3] = [1, 2, 4];

/// The state of the page.
#[derive(Clone, Copy)]
pub(crate) struct Desk {
    pub(crate) current: RwSignal<NextMatchup>,
    /// The job that draws the images of the desk's models.
    pub(crate) drawing: RwSignal<Option<Drawing>>,
    /// Answers that are not confirmed, oldest first.
    pub(crate) unsent: RwSignal<Vec<Unsent>>,
    /// Whether a request that answers, or takes an answer back, is on its way.
    is_sending: RwSignal<bool>,
    /// Whether the last attempt to send found no server.
    pub(crate) is_offline: RwSignal<bool>,
    /// When the pair appeared, in milliseconds.
    shown_at: StoredValue<f64>,
    /// What happened to the last answer.
    pub(crate) notice: RwSignal<String>,
    pub(crate) failure: RwSignal<Option<Failure>>,
    /// Whether the rater wants to see the models after each vote.
    pub(crate) reveals: RwSignal<bool>,
    pub(crate) zoom: RwSignal<u8>,
    /// The point of both images that stays in place when they are enlarged, in percent of width and height.
    pub(crate) centre: RwSignal<(f64, f64)>,
    /// With both images in one place: whether the second is in front. None: side by side.
    pub(crate) flicker: RwSignal<Option<bool>>,
    /// Of a set: the numbers of the images that are ranked so far, the best first.
    pub(crate) picked: RwSignal<Vec<u8>>,
    /// Whether the rater ranks the images of a set, and does not only pick the best.
    pub(crate) ranks: RwSignal<bool>,
    /// Whether the rater has paused: no pair is shown.
    pub(crate) is_paused: RwSignal<bool>,
    /// Whether the rater goes on after the session is done.
    pub(crate) goes_on: RwSignal<bool>,
}

impl Desk {
    pub(crate) fn new(initial: NextMatchup) -> Self {
        Self {
            drawing: RwSignal::new(initial.drawing.clone()),
            current: RwSignal::new(initial),
            unsent: RwSignal::new(Vec::new()),
            is_sending: RwSignal::new(false),
            is_offline: RwSignal::new(false),
            shown_at: StoredValue::new(0.0),
            notice: RwSignal::new(String::new()),
            failure: RwSignal::new(None),
            reveals: RwSignal::new(false),
            zoom: RwSignal::new(1),
            centre: RwSignal::new((50.0, 50.0)),
            flicker: RwSignal::new(None),
            picked: RwSignal::new(Vec::new()),
            ranks: RwSignal::new(false),
            is_paused: RwSignal::new(false),
            goes_on: RwSignal::new(false),
        }
    }

    /// Begins in the browser: sends what an earlier page left, and shows no pair that it has answered.
    pub(crate) fn begin(self) {
        self.shown_at.set_value(js_sys::Date::now());
        let kept = desk_queue::kept();
        if !kept.is_empty() {
            self.unsent.set(kept);
            self.take(self.current.get_untracked());
            self.send();
        }
    }

    /// Whether a pair or set is shown and takes an answer: the page is not paused, and has been there for long enough.
    pub(crate) fn takes_answers(self) -> bool {
        self.shows_pair() && js_sys::Date::now() - self.shown_at.get_value() >= GUARD
    }

    /// Whether the session of a campaign is done, and the rater has not said to go on.
    pub(crate) fn is_done(self) -> bool {
        !self.goes_on.get() && self.current.read().session_is_done()
    }

    fn shows_pair(self) -> bool {
        untrack(|| self.current.read().matchup.is_some() && !self.is_paused.get() && !self.is_done())
    }

    /// Hides what is shown, or shows it again.
    pub(crate) fn pause(self) {
        if self.is_paused.get_untracked() || self.shows_pair() {
            self.is_paused.update(|is_paused| *is_paused = !*is_paused);
            self.shown_at.set_value(js_sys::Date::now());
        }
    }

    /// Goes on after the session is done.
    pub(crate) fn go_on(self) {
        self.goes_on.set(true);
        self.shown_at.set_value(js_sys::Date::now());
    }

    /// Answers the pair: with a choice, or by skipping it. Without effect while the pair is new or its images are not there.
    pub(crate) fn answer(self, choice: Option<Choice>) {
        let is_set = self.current.read_untracked().matchup.as_ref().is_some_and(|shown| shown.images() > 2);
        if !(is_set && choice.is_some()) {
            self.settle(choice, Vec::new());
        }
    }

    /// Answers what is shown: a pair with a choice, a set with an order, and either with none of both by skipping it.
    pub(crate) fn settle(self, choice: Option<Choice>, order: Vec<u8>) {
        if !self.takes_answers() {
            return;
        }
        let mut next = self.current.get_untracked();
        let Some(matchup) = next.matchup.take() else { return };
        let is_answer = choice.is_some() || !order.is_empty();
        if is_answer && !images_are_shown(matchup.images()) {
            self.notice.set("The images have not loaded yet. Wait for them, or skip the pair.".to_owned());
            return;
        }
        self.failure.set(None);
        self.notice.set(said(choice, &order));
        let campaign = next.campaign.as_ref().map(|campaign| campaign.id);
        let unsent = Unsent { matchup, choice, order, models: next.models.clone(), campaign };
        desk_queue::keep(&unsent);
        self.unsent.update(|all| all.push(unsent));
        count(&mut next, i64::from(is_answer));
        next.matchup = (!next.upcoming.is_empty()).then(|| next.upcoming.remove(0));
        self.show(next);
        self.send();
    }

    /// Takes back the last answer, whether or not the server has it.
    pub(crate) fn undo(self) {
        let is_sending = self.is_sending.get_untracked();
        let mut unsent = self.unsent.get_untracked();
        // The only answer that is on its way is decided by its response.
        if is_sending && unsent.len() <= 1 {
            return;
        }
        let mut next = self.current.get_untracked();
        if let Some(taken) = unsent.pop() {
            let is_answer = taken.is_answer();
            let matchup = taken.matchup;
            desk_queue::forget(matchup.id);
            self.unsent.set(unsent);
            count(&mut next, -i64::from(is_answer));
            if let Some(shown) = next.matchup.replace(matchup) {
                next.upcoming.insert(0, shown);
            }
            self.notice.set(TAKEN_BACK.to_owned());
            self.show(next);
            return;
        }
        let (Some(last), models, campaign) = (next.last, next.models, next.campaign) else { return };
        self.is_sending.set(true);
        spawn_local(async move {
            let outcome = match campaign {
                Some(campaign) => api::undo_in_campaign(campaign.id, last).await,
                None => api::undo(last, &DeskRequest { models }).await,
            };
            self.is_sending.set(false);
            match outcome {
                Ok(next) => {
                    self.failure.set(None);
                    self.notice.set(TAKEN_BACK.to_owned());
                    self.show(next);
                }
                Err(failure) => self.failure.set(Some(failure)),
            }
            self.send();
        });
    }

    /// Where the forms of the desk go without JavaScript.
    pub(crate) fn form_address(self) -> String {
        match &self.current.read_untracked().campaign {
            Some(campaign) => format!("{}/answer", campaign_desk_page(campaign.id)),
            None => "/judge/vote".to_owned(),
        }
    }

    /// Whether there is an answer to take back.
    pub(crate) fn can_undo(self) -> bool {
        !self.unsent.read().is_empty() || self.current.read().last.is_some()
    }

    /// Sends the oldest answer that is not confirmed, and then the others.
    pub(crate) fn send(self) {
        let Some(unsent) = self.unsent.read_untracked().first().cloned() else { return };
        if self.is_sending.get_untracked() {
            return;
        }
        self.is_sending.set(true);
        let reveal = self.reveals.get_untracked();
        spawn_local(async move {
            let id = unsent.matchup.id;
            let outcome = sent(unsent, reveal).await;
            self.is_sending.set(false);
            self.is_offline.set(false);
            match outcome {
                Ok((next, verdict)) => {
                    self.confirmed(id);
                    if let Some(verdict) = verdict {
                        self.notice.set(verdict);
                    }
                    self.take(next);
                }
                // No server, one that stops, or one that has too much to do: the answer stays in the queue.
                Err(failure) if failure.status == 0 || failure.status == 429 || failure.status >= 500 => {
                    self.is_offline.set(true);
                    set_timeout(move || self.send(), RETRY);
                    return;
                }
                Err(failure) => {
                    self.confirmed(id);
                    if failure.status == 409 {
                        self.notice.set(failure.detail.message);
                    } else {
                        self.failure.set(Some(failure));
                    }
                    if let Ok(next) = self.next().await {
                        self.take(next);
                    }
                }
            }
            self.send();
        });
    }

    fn confirmed(self, id: MatchupId) {
        desk_queue::forget(id);
        self.unsent.update(|all| all.retain(|unsent| unsent.matchup.id != id));
    }

    /// The next matchup of the page's question and models.
    async fn next(self) -> ApiResult<NextMatchup> {
        let NextMatchup { question, models, campaign, .. } = self.current.get_untracked();
        match campaign {
            Some(campaign) => api::campaign_desk(&campaign.id.to_string()).await,
            None => api::next_matchup(question, &models.join(",")).await,
        }
    }

    /// Takes what the server says is open. The pair that is shown stays, unless it has been answered elsewhere.
    fn take(self, mut next: NextMatchup) {
        let unsent = self.unsent.get_untracked();
        let open = next.matchup.take().into_iter().chain(std::mem::take(&mut next.upcoming));
        let mut open: Vec<BlindMatchup> =
            open.filter(|matchup| unsent.iter().all(|unsent| unsent.matchup.id != matchup.id)).collect();
        let shown = self.current.read_untracked().matchup.as_ref().map(|matchup| matchup.id);
        let place = open.iter().position(|matchup| Some(matchup.id) == shown);
        next.matchup = (!open.is_empty()).then(|| open.remove(place.unwrap_or(0)));
        next.upcoming = open;
        let later = unsent.iter().filter(|unsent| unsent.is_answer()).count();
        count(&mut next, i64::try_from(later).unwrap_or(0));
        if place.is_some() { self.current.set(next) } else { self.show(next) }
    }

    fn show(self, next: NextMatchup) {
        self.shown_at.set_value(js_sys::Date::now());
        self.zoom.set(1);
        self.picked.set(Vec::new());
        self.flicker.update(|front| *front = front.map(|_| false));
        self.current.set(next);
    }

    /// Follows the job that draws images, and shows the first pair if none is shown. Breaks once no image is drawn.
    pub(crate) async fn follow_drawing(self) -> ControlFlow<()> {
        if self.drawing.get_untracked().is_none_or(|drawing| drawing.state.is_final()) {
            return ControlFlow::Break(());
        }
        // A failed request is repeated in the next period.
        if let Ok(next) = self.next().await {
            self.drawing.set(next.drawing.clone());
            if self.current.read_untracked().matchup.is_none() {
                self.take(next);
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether the key is a shortcut of the desk; if so, its action is taken.
    pub(crate) fn handle_key(self, key: &str) -> bool {
        if self.handle_key_of_set(key) {
            return true;
        }
        match key {
            "p" | "P" => self.pause(),
            "1" => self.answer(Some(Choice::Left)),
            "2" => self.answer(Some(Choice::Right)),
            "3" => self.answer(Some(Choice::Tie)),
            "4" => self.answer(Some(Choice::BothBad)),
            "n" | "N" => self.answer(None),
            "u" | "U" => self.undo(),
            "z" | "Z" => self.enlarge(),
            "f" | "F" => self.flicker.update(|front| *front = Some(front.is_none_or(|second| !second))),
            "Escape" => {
                self.flicker.set(None);
                self.zoom.set(1);
            }
            "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown" => return self.handle_arrow(key),
            _ => return false,
        }
        true
    }

    /// Arrows move enlarged images. Otherwise left and right vote, but only on a page that they cannot scroll.
    fn handle_arrow(self, key: &str) -> bool {
        if self.zoom.get_untracked() > 1 {
            let (x, y) = match key {
                "ArrowLeft" => (-10.0, 0.0),
                "ArrowRight" => (10.0, 0.0),
                "ArrowUp" => (0.0, -10.0),
                _ => (0.0, 10.0),
            };
            self.centre.update(|at| *at = ((at.0 + x).clamp(0.0, 100.0), (at.1 + y).clamp(0.0, 100.0)));
            return true;
        }
        if scrolls() {
            return false;
        }
        match key {
            "ArrowLeft" => self.answer(Some(Choice::Left)),
            "ArrowRight" => self.answer(Some(Choice::Right)),
            _ => return false,
        }
        true
    }

    /// The next zoom, and after the largest none.
    pub(crate) fn enlarge(self) {
        self.centre.set((50.0, 50.0));
        self.zoom.update(|zoom| {
            let place = ZOOMS.iter().position(|known| known == zoom).unwrap_or(0);
            *zoom = ZOOMS[(place + 1) % ZOOMS.len()];
        });
    }
}

const TAKEN_BACK: &str = "Your last answer is taken back. Answer again.";

/// Counts answers that the server has not confirmed, or ones that were taken back.
fn count(next: &mut NextMatchup, answers: i64) {
    next.votes_cast += answers;
    if let Some(campaign) = &mut next.campaign {
        campaign.answered += answers;
    }
}
