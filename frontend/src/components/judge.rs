//! The desk of a rater, blind: two images of one prompt, and the answer. `desk.rs` decides, `desk_pair.rs` draws the pair; this
//! file is the island, and what it shows without a pair.

use crate::components::desk::Desk;
use crate::components::desk_pair::Pair;
use crate::components::hydration::is_hydrated;
use crate::components::keyboard::shortcut_key;
use crate::components::note::{Empty, FailureNote};
use crate::components::poll::poll;
use crate::components::progress::Progress;
use crate::format::{count, query};
use domain::api::{Drawing, NextMatchup};
use domain::campaign::CampaignState;
use domain::job::JobState;
use leptos::ev;
use leptos::prelude::*;
use std::time::Duration;

/// How often the page asks for images while they are drawn.
const DRAWING_PERIOD: Duration = Duration::from_millis(2000);

/// What the page shows.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Pair,
    Paused,
    /// The session of a campaign is done, and there is more.
    Done,
    Nothing,
}

/// The page of a rater. Without JavaScript the buttons submit a form.
#[island(lazy)]
pub(crate) fn Judge(
    initial: NextMatchup,
    /// Whether the rater of a campaign goes on after the session is done.
    goes_on: bool,
) -> impl IntoView {
    let in_campaign = initial.campaign.is_some();
    let desk = Desk::new(initial);
    desk.goes_on.set(goes_on);
    // Effects do not run on the server.
    Effect::new(move |_| {
        desk.begin();
        let keys = window_event_listener(ev::keydown, move |event| {
            if let Some(key) = shortcut_key(&event)
                && desk.handle_key(&key)
            {
                event.prevent_default();
            }
        });
        let online = window_event_listener(ev::online, move |_| desk.send());
        on_cleanup(move || {
            keys.remove();
            online.remove();
        });
    });
    poll(DRAWING_PERIOD, move || desk.follow_drawing());
    let hydrated = is_hydrated();
    let stage = Memo::new(move |_| {
        if desk.current.read().matchup.is_none() {
            Stage::Nothing
        } else if desk.is_paused.get() {
            Stage::Paused
        } else if desk.is_done() {
            Stage::Done
        } else {
            Stage::Pair
        }
    });
    view! {
        <div class="judge" class:of-campaign=in_campaign data-hydrated=hydrated>
            {move || {
                let NextMatchup { models, votes_cast, .. } = desk.current.get_untracked();
                match (stage.get(), models.is_empty()) {
                    (Stage::Pair, _) => view! { <Pair desk /> }.into_any(),
                    (Stage::Paused, _) => view! { <Paused desk /> }.into_any(),
                    (Stage::Done, _) => view! { <Done desk /> }.into_any(),
                    _ if desk.current.read_untracked().campaign.is_some() => view! { <CampaignEnd desk /> }.into_any(),
                    (Stage::Nothing, true) => view! { <AllJudged votes=votes_cast /> }.into_any(),
                    (Stage::Nothing, false) => view! { <NoPair models drawing=desk.drawing /> }.into_any(),
                }
            }}
            <Status desk />
            <Remaining judge=desk />
            {move || desk.failure.get().map(|failure| view! { <FailureNote failure /> })}
        </div>
    }
}

/// A rater's pause: the images are out of sight until the rater goes on.
#[component]
fn Paused(desk: Desk) -> impl IntoView {
    view! {
        <Empty title="Paused">
            <p>"Your answers are kept. The same images come when you go on."</p>
            <p><button class="primary go-on" on:click=move |_| desk.pause()>"Go on" <kbd>"P"</kbd></button></p>
        </Empty>
    }
}

/// The end of a session of a campaign that has more for the rater.
#[component]
fn Done(desk: Desk) -> impl IntoView {
    view! {
        <Empty title="The session is done">
            <p>"Thank you for your answers. "<Completion desk /></p>
            <p>
                <a
                    class="button go-on" href="?on=1"
                    on:click=move |event| {
                        event.prevent_default();
                        desk.go_on();
                    }
                >
                    "Go on judging"
                </a>
            </p>
        </Empty>
    }
}

/// What happened to the last answer, and the way to take it back.
#[component]
fn Status(desk: Desk) -> impl IntoView {
    let cast = move || count(desk.current.read().votes_cast, "vote", "votes");
    let waiting = move || {
        let unsent = i64::try_from(desk.unsent.read().len()).unwrap_or(0);
        let text = format!(
            "No connection. {} to send: it is tried again every two seconds, and after a reload.",
            count(unsent, "answer", "answers")
        );
        (desk.is_offline.get() && unsent > 0).then(|| view! { <p class="note wait">{text}</p> })
    };
    let last = move || desk.current.read().last.map(|id| id.to_string());
    let models = move || desk.current.read().models.join(",");
    view! {
        <div class="desk-status">
            <p role="status">{move || desk.notice.get()}</p>
            <form method="post" action=desk.form_address() on:submit=move |event| event.prevent_default()>
                <input type="hidden" name="matchup" value=last />
                <input type="hidden" name="models" value=models />
                <button
                    name="choice" value="undo" disabled=move || !desk.can_undo()
                    on:click=move |_| desk.undo()
                >
                    "Undo" <kbd>"U"</kbd>
                </button>
            </form>
            {waiting}
        </div>
        <div class="judge-foot soft">
            {if desk.current.read_untracked().campaign.is_some() {
                view! { <Session desk /> }.into_any()
            } else {
                view! {
                    <p>{cast}" cast."</p>
                    <label class="check">
                        <input
                            type="checkbox" prop:checked=move || desk.reveals.get()
                            on:change=move |event| desk.reveals.set(event_target_checked(&event))
                        />
                        "Show the models after each vote (you are then no longer blind)"
                    </label>
                }
                .into_any()
            }}
        </div>
    }
}

/// How far the rater is in the session of a campaign.
#[component]
fn Session(desk: Desk) -> impl IntoView {
    let numbers = move || desk.current.read().campaign.as_ref().map(|c| (c.answered, c.session, c.exam_left));
    let step = Signal::derive(move || numbers().map_or(0, |(answered, ..)| answered));
    let steps = Signal::derive(move || numbers().map_or(0, |(_, session, _)| i64::from(session)));
    let exam = move || {
        let left = numbers().map_or(0, |(.., left)| left);
        (left > 0).then(|| format!("Exam: {} left.", count(i64::from(left), "pair", "pairs")))
    };
    let done = move || {
        let is_done = desk.goes_on.get()
            && desk.current.read().session_is_done()
            && desk.current.read().matchup.is_some();
        is_done.then(|| view! { <p>"The session is done. "<Completion desk /></p> })
    };
    view! {
        <p>"This session: "<Progress step steps /></p>
        <p>{exam}</p>
        {done}
    }
}

/// What a rater whom a panel has sent takes back to it.
#[component]
fn Completion(desk: Desk) -> impl IntoView {
    let told = Memo::new(move |_| {
        let told =
            desk.current.read().campaign.as_ref().map(|c| (c.completion_code.clone(), c.return_url.clone()));
        told.unwrap_or_default()
    });
    move || {
        let (code, address) = told.get();
        view! {
            {code.map(|code| view! { <span>"Completion code: "<code class="completion">{code}</code>" "</span> })}
            {address.map(|address| view! { <a href=address rel="noreferrer">"Return to the panel"</a> })}
        }
    }
}

/// What a campaign's desk shows without a pair.
#[component]
fn CampaignEnd(desk: Desk) -> impl IntoView {
    move || {
        let current = desk.current.read();
        let Some(campaign) = &current.campaign else { return ().into_any() };
        let waits = !desk.unsent.read().is_empty();
        let (title, text) = match campaign.state {
            _ if waits => ("Sending your answers", "The next pair comes when they have arrived."),
            CampaignState::Paused => {
                ("This campaign is paused", "Come back later; what you have answered is kept.")
            }
            _ if campaign.passed == Some(false) => (
                "Thank you",
                "Your answers to the pairs of the exam differ from the expected ones too often to go on.",
            ),
            CampaignState::Closed => ("This campaign is closed", "Thank you for your answers."),
            CampaignState::Open => ("Thank you", "There is nothing left for you to judge."),
        };
        view! { <Empty title><p>{text}</p><p><Completion desk /></p></Empty> }.into_any()
    }
}

#[component]
fn AllJudged(votes: i64) -> impl IntoView {
    let title = if votes > 0 { "You have judged every pair" } else { "No pairs to judge yet" };
    view! {
        <Empty title>
            <p>
                {(votes > 0).then(|| format!("Thank you for {}. ", count(votes, "vote", "votes")))}
                "Pairs are built from evaluation images of the same prompt by two models. Evaluate another model to get more, or see the "
                <a href="/leaderboard">"leaderboard"</a> "."
            </p>
        </Empty>
    }
}

/// What a page that is restricted to some models shows without a pair: that images are drawn, that this failed, or that
/// nothing is left.
#[component]
fn NoPair(models: Vec<String>, drawing: RwSignal<Option<Drawing>>) -> impl IntoView {
    let more = format!("/judge/compare?prompts=&model={}", query(models.first().map_or("", String::as_str)));
    // The progress changes with every request, the rest only with the state.
    let state = Memo::new(move |_| drawing.read().as_ref().map(|drawing| drawing.state));
    move || {
        let more = more.clone();
        match state.get() {
            Some(JobState::Failed) => {
                let error = drawing.get_untracked().and_then(|drawing| drawing.error).unwrap_or_default();
                view! {
                <Empty title="The images could not be drawn">
                    <div class="note bad"><p>{error}</p></div>
                    <p><a href=more>"Try again"</a>", or see the job in the "<a href="/runs">"queue"</a>"."</p>
                </Empty>
            }
            .into_any()
            }
            Some(state) => {
                let text = if state == JobState::Queued {
                    "The job waits for a worker. The first pair appears here as soon as its images exist."
                } else {
                    "The first pair appears here as soon as its images exist."
                };
                view! {
                    <Empty title="Images are being drawn">
                        <p><DrawingProgress drawing /></p>
                        <p>{text}" "<a href="/runs">"Show the queue"</a></p>
                    </Empty>
                }
                .into_any()
            }
            None => view! {
                <Empty title="No pairs left to judge">
                    <p>
                        "There is no pair of images of these models that you have not judged. "
                        <a href=more>"Draw images of more prompts"</a>", or see the "
                        <a href="/leaderboard">"leaderboard"</a>"."
                    </p>
                </Empty>
            }
            .into_any(),
        }
    }
}

/// Images drawn and their total.
#[component]
fn DrawingProgress(drawing: RwSignal<Option<Drawing>>) -> impl IntoView {
    let step = Signal::derive(move || drawing.read().as_ref().map_or(0, |drawing| drawing.progress));
    let steps = Signal::derive(move || drawing.read().as_ref().map_or(0, |drawing| drawing.total));
    // A job that no worker has claimed has no total yet.
    let has_total = Memo::new(move |_| steps.get() > 0);
    move || has_total.get().then(|| view! { <Progress step steps /> })
}

/// Below a pair: how many images are still drawn.
#[component]
fn Remaining(judge: Desk) -> impl IntoView {
    let is_shown = Memo::new(move |_| {
        let is_drawing = judge.drawing.read().as_ref().is_some_and(|drawing| !drawing.state.is_final());
        is_drawing && judge.current.read().matchup.is_some()
    });
    move || {
        is_shown.get().then(|| {
            view! {
                <p class="judge-foot soft">
                    "More images are being drawn: "<DrawingProgress drawing=judge.drawing />" "<a href="/runs">"queue"</a>
                </p>
            }
        })
    }
}
