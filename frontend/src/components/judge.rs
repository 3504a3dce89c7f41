//! Blind comparison of two images: vote, see the models, continue with the next pair.

use crate::api::{self, Failure};
use crate::components::hydration::is_hydrated;
use crate::components::keyboard::shortcut_key;
use crate::components::note::{Empty, FailureNote};
use crate::format::count;
use domain::api::{BlindMatchup, NextMatchup, VoteRequest, VoteResponse};
use domain::preference::Choice;
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::SubmitEvent;
use std::time::Duration;

/// How long the models are shown before auto-advance loads the next pair.
const REVEAL_TIME: Duration = Duration::from_millis(2500);

#[derive(Clone, Copy)]
struct JudgeState {
    current: RwSignal<NextMatchup>,
    /// The vote that was sent for the current matchup.
    vote: RwSignal<Option<Choice>>,
    /// The response to the vote, which names the models.
    revealed: RwSignal<Option<VoteResponse>>,
    failure: RwSignal<Option<Failure>>,
    auto_advance: RwSignal<bool>,
}

/// The page of a rater. Without JavaScript the buttons submit a form.
#[island]
pub(crate) fn Judge(initial: NextMatchup) -> impl IntoView {
    let judge = JudgeState {
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
    let hydrated = is_hydrated();
    view! {
        <div class="judge" data-hydrated=hydrated>
            {move || match judge.current.get().matchup {
                Some(matchup) => view! { <Pair judge matchup /> }.into_any(),
                None => view! { <AllJudged votes=judge.current.get().votes_cast /> }.into_any(),
            }}
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
        spawn_local(async move {
            match api::vote(&matchup, &VoteRequest { choice }).await {
                Ok(response) => self.reveal(response),
                // The vote is already counted, from another tab or a double press: continue with the next pair.
                Err(failure) if failure.status == 409 => match api::next_matchup(matchup.question).await {
                    Ok(next) => self.show(next),
                    Err(failure) => self.fail(failure),
                },
                Err(failure) => self.fail(failure),
            }
        });
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

/// The two images of a matchup and the four choices.
#[component]
fn Pair(judge: JudgeState, matchup: BlindMatchup) -> impl IntoView {
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
            aria-label=format!("Vote for the {side} image")
            on:click=move |_| judge.cast(choice)
        >
            <img src=address alt=format!("The {side} image") width="64" height="64" />
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
