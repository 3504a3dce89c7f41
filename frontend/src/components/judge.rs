//! Blind comparison of two images: vote, see the models, continue with the next pair.

use crate::api::{self, ApiResult, Failure};
use crate::components::hydration::is_hydrated;
use crate::components::keyboard::shortcut_key;
use crate::components::note::{Empty, FailureNote};
use crate::components::poll::poll;
use crate::components::progress::Progress;
use crate::format::{count, query};
use domain::api::{BlindMatchup, Drawing, NextMatchup, VoteRequest, VoteResponse};
use domain::job::JobState;
use domain::preference::Choice;
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::SubmitEvent;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long the models are shown before auto-advance loads the next pair.
const REVEAL_TIME: Duration = Duration::from_millis(2500);

/// How often the page asks for images while they are drawn.
const DRAWING_PERIOD: Duration = Duration::from_millis(2000);

#[derive(Clone, Copy)]
struct JudgeState {
    current: RwSignal<NextMatchup>,
    /// The job that draws the images of the page's models.
    drawing: RwSignal<Option<Drawing>>,
    /// The vote that was sent for the current matchup.
    vote: RwSignal<Option<Choice>>,
    /// The response to the vote, which names the models.
    revealed: RwSignal<Option<VoteResponse>>,
    failure: RwSignal<Option<Failure>>,
    auto_advance: RwSignal<bool>,
}

/// The page of a rater. Without JavaScript the buttons submit a form.
#[island(lazy)]
pub(crate) fn Judge(initial: NextMatchup) -> impl IntoView {
    let judge = JudgeState {
        drawing: RwSignal::new(initial.drawing.clone()),
        current: RwSignal::new(initial),
        vote: RwSignal::new(None),
        revealed: RwSignal::new(None),
        failure: RwSignal::new(None),
        auto_advance: RwSignal::new(true),
    };
    Effect::new(move |_| {
        let listener = window_event_listener(ev::keydown, move |event| {
            if let Some(key) = shortcut_key(&event)
                && judge.handle_key(&key)
            {
                event.prevent_default();
            }
        });
        on_cleanup(move || listener.remove());
    });
    poll(DRAWING_PERIOD, move || judge.follow_drawing());
    let hydrated = is_hydrated();
    view! {
        <div class="judge" data-hydrated=hydrated>
            {move || {
                let NextMatchup { matchup, models, votes_cast, .. } = judge.current.get();
                match matchup {
                    Some(matchup) => view! { <Pair judge matchup models=models.join(",") /> }.into_any(),
                    None if models.is_empty() => view! { <AllJudged votes=votes_cast /> }.into_any(),
                    None => view! { <NoPair models drawing=judge.drawing /> }.into_any(),
                }
            }}
            <Remaining judge />
            {move || judge.failure.get().map(|failure| view! { <FailureNote failure /> })}
        </div>
    }
}

impl JudgeState {
    /// Whether the key is a shortcut of the page; if so, its action is taken.
    fn handle_key(self, key: &str) -> bool {
        if self.revealed.read_untracked().is_some() {
            let advances = matches!(key, "Enter" | " ");
            if advances {
                self.advance();
            }
            return advances;
        }
        let choice = match key {
            "ArrowLeft" => Choice::Left,
            "ArrowRight" => Choice::Right,
            "ArrowDown" => Choice::Tie,
            "ArrowUp" | "b" | "B" => Choice::BothBad,
            _ => return false,
        };
        self.cast(choice);
        true
    }

    fn cast(self, choice: Choice) {
        let Some(matchup) = self.current.get_untracked().matchup else { return };
        if self.vote.get_untracked().is_some() {
            return;
        }
        self.vote.set(Some(choice));
        self.failure.set(None);
        let models = self.current.get_untracked().models;
        spawn_local(async move {
            match api::vote(&matchup, &VoteRequest { choice, models }).await {
                Ok(response) => self.reveal(response),
                // The vote is already counted, from another tab or a double press: continue with the next pair.
                Err(failure) if failure.status == 409 => match self.next().await {
                    Ok(next) => self.show(next),
                    Err(failure) => self.fail(failure),
                },
                Err(failure) => self.fail(failure),
            }
        });
    }

    /// The next matchup of the page's question and models.
    async fn next(self) -> ApiResult<NextMatchup> {
        let NextMatchup { question, models, .. } = self.current.get_untracked();
        api::next_matchup(question, &models.join(",")).await
    }

    /// Follows the job that draws images, and shows the first pair if none is shown. Breaks once no image is drawn.
    async fn follow_drawing(self) -> ControlFlow<()> {
        if self.drawing.get_untracked().is_none_or(|drawing| drawing.state.is_final()) {
            return ControlFlow::Break(());
        }
        // A failed request is repeated in the next period.
        if let Ok(next) = self.next().await {
            self.drawing.set(next.drawing.clone());
            if self.current.read_untracked().matchup.is_none() {
                self.show(next);
            }
        }
        ControlFlow::Continue(())
    }

    fn reveal(self, response: VoteResponse) {
        let vote = response.vote_id;
        self.revealed.set(Some(response));
        if self.auto_advance.get_untracked() {
            let still_shown =
                move || self.revealed.read_untracked().as_ref().is_some_and(|shown| shown.vote_id == vote);
            set_timeout(
                move || {
                    if still_shown() && self.auto_advance.get_untracked() {
                        self.advance();
                    }
                },
                REVEAL_TIME,
            );
        }
    }

    fn advance(self) {
        if let Some(response) = self.revealed.get_untracked() {
            self.show(response.next);
        }
    }

    fn show(self, next: NextMatchup) {
        self.revealed.set(None);
        self.vote.set(None);
        self.current.set(next);
    }

    fn fail(self, failure: Failure) {
        self.vote.set(None);
        self.failure.set(Some(failure));
    }
}

/// The two images of a matchup and the four choices. `models`: those of the page, separated by commas.
#[component]
fn Pair(judge: JudgeState, matchup: BlindMatchup, models: String) -> impl IntoView {
    let BlindMatchup { id, question, prompt, left_url, right_url } = matchup;
    let submit = move |event: SubmitEvent| {
        // The buttons vote when clicked; the form is submitted only without JavaScript.
        event.prevent_default();
    };
    let votes = move || {
        let revealed = judge.revealed.read().as_ref().map(|shown| shown.next.votes_cast);
        count(revealed.unwrap_or_else(|| judge.current.get_untracked().votes_cast), "vote", "votes")
    };
    view! {
        <form method="post" action="/judge/vote" on:submit=submit>
            <input type="hidden" name="matchup" value=id.to_string() />
            <input type="hidden" name="models" value=models />
            <p class="question">
                <span class="soft">{question.text()}</span>
                <strong>{prompt}</strong>
            </p>
            <div class="sides">
                <Side judge choice=Choice::Left address=left_url />
                <Side judge choice=Choice::Right address=right_url />
            </div>
            <div class="answers" class:hidden=move || judge.revealed.read().is_some()>
                <ChoiceButton judge choice=Choice::Left label="Left" key="←" />
                <ChoiceButton judge choice=Choice::Tie label="Tie" key="↓" />
                <ChoiceButton judge choice=Choice::BothBad label="Both bad" key="↑" />
                <ChoiceButton judge choice=Choice::Right label="Right" key="→" />
            </div>
        </form>
        {move || judge.revealed.get().map(|response| view! { <Reveal judge response /> })}
        <p class="judge-foot soft">
            {votes} " cast. Model names are revealed after you vote."
        </p>
    }
}

/// One image, as a button that votes for it. The name of its model is shown once revealed.
#[component]
fn Side(judge: JudgeState, choice: Choice, address: String) -> impl IntoView {
    let name = move || {
        judge.revealed.get().map(|response| match choice {
            Choice::Left => response.left_model,
            _ => response.right_model,
        })
    };
    let side = choice.as_str();
    view! {
        <button
            type="submit" name="choice" value=side class="side"
            class:won=move || judge.vote.get() == Some(choice)
            class:lost=move || judge.revealed.read().as_ref().is_some_and(|shown| shown.choice != choice)
            aria-label=move || match name() {
                Some(model) => format!("The {side} image, by {model}"),
                None => format!("Vote for the {side} image"),
            }
            on:click=move |_| judge.cast(choice)
        >
            <img src=address alt=format!("The {side} image") />
            {move || name().map(|name| view! { <span class="name">{name}</span> })}
        </button>
    }
}

#[component]
fn ChoiceButton(judge: JudgeState, choice: Choice, label: &'static str, key: &'static str) -> impl IntoView {
    view! {
        <button
            type="submit" name="choice" value=choice.as_str()
            disabled=move || judge.vote.get().is_some()
            on:click=move |_| judge.cast(choice)
        >
            <span>{label}</span>
            <kbd>{key}</kbd>
        </button>
    }
}

/// The models of the judged images. Preloads the images of the next matchup.
#[component]
fn Reveal(judge: JudgeState, response: VoteResponse) -> impl IntoView {
    let VoteResponse { choice, left_model, right_model, next, .. } = response;
    let verdict = match choice {
        Choice::Left | Choice::Right if left_model == right_model => {
            format!("You chose the {} image. Both are by {left_model}.", choice.as_str())
        }
        Choice::Tie if left_model == right_model => format!("Tie. Both images are by {left_model}."),
        Choice::BothBad if left_model == right_model => {
            format!("You rated both images bad. Both are by {left_model}.")
        }
        Choice::Left => format!("You chose {left_model} over {right_model}."),
        Choice::Right => format!("You chose {right_model} over {left_model}."),
        Choice::Tie => format!("Tie between {left_model} and {right_model}."),
        Choice::BothBad => format!("You rated {left_model} and {right_model} both bad."),
    };
    let preload = next.matchup.map(|next| {
        view! { <img src=next.left_url alt="" /><img src=next.right_url alt="" /> }
    });
    view! {
        <div class="reveal" role="status">
            <p>{verdict}</p>
            <button type="button" class="primary" on:click=move |_| judge.advance()>"Next pair" <kbd>"Enter"</kbd></button>
            <label class="check">
                <input
                    type="checkbox" prop:checked=move || judge.auto_advance.get()
                    on:change=move |event| judge.auto_advance.set(event_target_checked(&event))
                />
                "Auto-advance"
            </label>
            <div class="preload" aria-hidden="true">{preload}</div>
        </div>
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
fn Remaining(judge: JudgeState) -> impl IntoView {
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
