//! Blinded pairs: look, choose, learn who was who, next.

use crate::api::{self, Failure};
use crate::components::note::{Empty, FailureNote};
use crate::components::poll::awake;
use crate::components::run_samples::key_for_page;
use crate::format::count;
use domain::api::{BlindMatchup, NextMatchup, VoteRequest, VoteResponse};
use domain::preference::Choice;
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::web_sys::SubmitEvent;
use std::time::Duration;

/// How long the names stay before the next pair comes by itself.
const REVEAL: Duration = Duration::from_millis(2500);

/// Where a visit stands.
#[derive(Clone, Copy)]
struct Desk {
    now: RwSignal<NextMatchup>,
    sent: RwSignal<Option<Choice>>,
    revealed: RwSignal<Option<VoteResponse>>,
    failure: RwSignal<Option<Failure>>,
    advance_alone: RwSignal<bool>,
}

/// The whole desk. Without JavaScript the buttons post a form.
#[island]
pub(crate) fn Judge(initial: NextMatchup) -> impl IntoView {
    let desk = Desk {
        now: RwSignal::new(initial),
        sent: RwSignal::new(None),
        revealed: RwSignal::new(None),
        failure: RwSignal::new(None),
        advance_alone: RwSignal::new(true),
    };
    Effect::new(move |_| {
        let listener = window_event_listener(ev::keydown, move |event| {
            if let Some(key) = key_for_page(&event)
                && desk.press(&key)
            {
                event.prevent_default();
            }
        });
        on_cleanup(move || listener.remove());
    });
    let awake = awake();
    view! {
        <div class="judge" data-awake=awake>
            {move || match desk.now.get().matchup {
                Some(matchup) => view! { <Pair desk matchup /> }.into_any(),
                None => view! { <AllJudged votes=desk.now.get().votes_cast /> }.into_any(),
            }}
            {move || desk.failure.get().map(|failure| view! { <FailureNote failure /> })}
        </div>
    }
}

impl Desk {
    /// What a key does; whether it did something.
    fn press(self, key: &str) -> bool {
        if self.revealed.read_untracked().is_some() {
            let goes_on = matches!(key, "Enter" | " ");
            if goes_on {
                self.go_on();
            }
            return goes_on;
        }
        let choice = match key {
            "ArrowLeft" => Choice::Left,
            "ArrowRight" => Choice::Right,
            "ArrowDown" => Choice::Tie,
            "ArrowUp" | "b" | "B" => Choice::BothBad,
            _ => return false,
        };
        self.vote(choice);
        true
    }

    fn vote(self, choice: Choice) {
        let Some(matchup) = self.now.get_untracked().matchup else { return };
        if self.sent.get_untracked().is_some() {
            return;
        }
        self.sent.set(Some(choice));
        self.failure.set(None);
        spawn_local(async move {
            match api::vote(&matchup, &VoteRequest { choice }).await {
                Ok(response) => self.reveal(response),
                // Already counted, in another tab or by a double press: nothing is lost, go on.
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
        if self.advance_alone.get_untracked() {
            let still_this =
                move || self.revealed.read_untracked().as_ref().is_some_and(|shown| shown.vote_id == vote);
            set_timeout(
                move || {
                    if still_this() && self.advance_alone.get_untracked() {
                        self.go_on();
                    }
                },
                REVEAL,
            );
        }
    }

    fn go_on(self) {
        if let Some(response) = self.revealed.get_untracked() {
            self.show(response.next);
        }
    }

    fn show(self, next: NextMatchup) {
        self.revealed.set(None);
        self.sent.set(None);
        self.now.set(next);
    }

    fn fail(self, failure: Failure) {
        self.sent.set(None);
        self.failure.set(Some(failure));
    }
}

/// Two images of a prompt and the four answers.
#[component]
fn Pair(desk: Desk, matchup: BlindMatchup) -> impl IntoView {
    let BlindMatchup { id, question, prompt, left_url, right_url } = matchup;
    let submit = move |event: SubmitEvent| {
        // The buttons' clicks do the work; this only keeps the browser on the page.
        event.prevent_default();
    };
    let votes = move || {
        let revealed = desk.revealed.read().as_ref().map(|shown| shown.next.votes_cast);
        count(revealed.unwrap_or_else(|| desk.now.get_untracked().votes_cast), "vote", "votes")
    };
    view! {
        <form method="post" action="/judge/vote" on:submit=submit>
            <input type="hidden" name="matchup" value=id.to_string() />
            <p class="question">
                <span class="soft">{question.text()}</span>
                <strong>{prompt}</strong>
            </p>
            <div class="sides">
                <Side desk choice=Choice::Left address=left_url />
                <Side desk choice=Choice::Right address=right_url />
            </div>
            <div class="answers" class:hidden=move || desk.revealed.read().is_some()>
                <Answer desk choice=Choice::Left label="Left" key="←" />
                <Answer desk choice=Choice::Tie label="Tie" key="↓" />
                <Answer desk choice=Choice::BothBad label="Both bad" key="↑" />
                <Answer desk choice=Choice::Right label="Right" key="→" />
            </div>
        </form>
        {move || desk.revealed.get().map(|response| view! { <Reveal desk response /> })}
        <p class="judge-foot soft">
            {votes} " so far. Models stay hidden until you have voted."
        </p>
    }
}

/// One image: a button that votes for it, and its model's name once revealed.
#[component]
fn Side(desk: Desk, choice: Choice, address: String) -> impl IntoView {
    let name = move || {
        desk.revealed.get().map(|response| match choice {
            Choice::Left => response.left_model,
            _ => response.right_model,
        })
    };
    let word = choice.as_str();
    view! {
        <button
            type="submit" name="choice" value=word class="side"
            class:won=move || desk.sent.get() == Some(choice)
            class:lost=move || desk.revealed.read().as_ref().is_some_and(|shown| shown.choice != choice)
            aria-label=format!("Vote for the {word} image")
            on:click=move |_| desk.vote(choice)
        >
            <img src=address alt=format!("The {word} image") width="64" height="64" />
            {move || name().map(|name| view! { <span class="name">{name}</span> })}
        </button>
    }
}

#[component]
fn Answer(desk: Desk, choice: Choice, label: &'static str, key: &'static str) -> impl IntoView {
    view! {
        <button
            type="submit" name="choice" value=choice.as_str()
            disabled=move || desk.sent.get().is_some()
            on:click=move |_| desk.vote(choice)
        >
            <span>{label}</span>
            <kbd>{key}</kbd>
        </button>
    }
}

/// Who was who; meanwhile the next images load.
#[component]
fn Reveal(desk: Desk, response: VoteResponse) -> impl IntoView {
    let VoteResponse { choice, left_model, right_model, next, .. } = response;
    let verdict = match choice {
        Choice::Left => format!("You chose {left_model} over {right_model}."),
        Choice::Right => format!("You chose {right_model} over {left_model}."),
        Choice::Tie => format!("A tie between {left_model} and {right_model}."),
        Choice::BothBad => format!("Neither {left_model} nor {right_model} will do."),
    };
    let ahead = next.matchup.map(|next| {
        view! { <img src=next.left_url alt="" /><img src=next.right_url alt="" /> }
    });
    view! {
        <div class="reveal" role="status">
            <p>{verdict}</p>
            <button type="button" class="primary" on:click=move |_| desk.go_on()>"Continue" <kbd>"Enter"</kbd></button>
            <label class="check">
                <input
                    type="checkbox" prop:checked=move || desk.advance_alone.get()
                    on:change=move |event| desk.advance_alone.set(event_target_checked(&event))
                />
                "Go on by itself"
            </label>
            <div class="ahead" aria-hidden="true">{ahead}</div>
        </div>
    }
}

#[component]
fn AllJudged(votes: i64) -> impl IntoView {
    let title = if votes > 0 { "You have judged every pair" } else { "No pairs to judge yet" };
    view! {
        <Empty title>
            <p>
                {(votes > 0).then(|| format!("Thank you: {}. ", count(votes, "vote", "votes")))}
                "Pairs come from evaluation images of the same prompt by two models. Train and evaluate another model, or see "
                <a href="/leaderboard">"where the models stand"</a> "."
            </p>
        </Empty>
    }
}
