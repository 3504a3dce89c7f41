//! The page where raters compare images.

use crate::api;
use crate::components::judge::Judge;
use crate::pages::layout::loaded;
use crate::pages::questions::{Questions, selected};
use domain::api::{NextMatchup, judge_page};
use domain::preference::Question;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

/// The visitor's next matchup for the selected question and models.
#[component]
pub(crate) fn JudgePage() -> impl IntoView {
    let question = selected();
    let models = use_query_map().with_untracked(|fields| fields.get("models").unwrap_or_default());
    let call = async move { api::next_matchup(question, &models).await };
    view! {
        <Title text="Judge" />
        <h1 class="visually-hidden">"Judge"</h1>
        {loaded(call, move |initial| desk(question, initial))}
    }
}

fn desk(question: Question, initial: NextMatchup) -> impl IntoView {
    let models = initial.models.clone();
    let is_waiting = initial.matchup.is_none()
        && initial.drawing.as_ref().is_some_and(|drawing| !drawing.state.is_final());
    view! {
        <Questions address=move |question: Question| judge_page(question, &models) current=question />
        {scope(&initial.models)}
        // Outside the island, whose markup must be the same in the browser.
        {is_waiting.then(|| view! { <noscript><meta http-equiv="refresh" content="5" /></noscript> })}
        <Judge initial goes_on=false />
        {instructions(question)}
    }
}

/// Which models the page is restricted to, and the way to restrict it.
fn scope(models: &[String]) -> impl IntoView + use<> {
    match models {
        [] => view! { <p class="scope soft"><a href="/judge/compare">"Judge two models"</a>" · "<a href="/campaigns">"Campaigns"</a></p> }.into_any(),
        [model] => view! {
            <p class="scope soft">"Only images of "<b>{model.clone()}</b>" · "<a href="/judge">"All models"</a></p>
        }
        .into_any(),
        models => view! {
            <p class="scope soft">
                "Only images of "<b>{models.join(", ")}</b>", sides at random · "<a href="/judge">"All models"</a>
            </p>
        }
        .into_any(),
    }
}

/// What a rater has to know: how to decide, and the keys.
fn instructions(question: Question) -> impl IntoView {
    let rule = match question {
        Question::Overall => "Decide as if you had asked for this prompt: which of the two would you keep?",
        Question::Appeal => {
            "Ignore the prompt. Decide which image looks better: composition, colour, detail, flaws."
        }
        Question::Alignment => {
            "Ignore looks. Decide which image shows more of what the prompt says, and less that it does not."
        }
    };
    view! {
        <details class="more how-to-judge">
            <summary>"How to judge"</summary>
            <ul>
                <li>{rule}</li>
                <li>"Both are equally good: "<b>"Tie"</b>". You would keep neither: "<b>"Both bad"</b>". You cannot or do not want to judge: "<b>"Skip"</b>"."</li>
                <li>"The sides are random, and nothing tells which model made which image."</li>
            </ul>
            {keys()}
        </details>
    }
}

/// The keys of a desk.
pub(crate) fn keys() -> impl IntoView {
    view! {
        <p>
            "Keys: "<kbd>"1"</kbd>" or "<kbd>"2"</kbd>" for the better image, "<kbd>"3"</kbd>" tie, "<kbd>"4"</kbd>" both bad, "
            <kbd>"N"</kbd>" skip, "<kbd>"U"</kbd>" take back the last answer, "<kbd>"Z"</kbd>" enlarge both (then the arrow keys, or the pointer, move both), "
            <kbd>"F"</kbd>" show the images by turns in one place, "<kbd>"Esc"</kbd>" side by side again, "<kbd>"P"</kbd>" pause. "
            "If the page fits the window, "<kbd>"←"</kbd>" and "<kbd>"→"</kbd>" vote too; otherwise they scroll. "
            "A new pair takes no answer in its first 0.4 seconds, so a double press counts once."
        </p>
    }
}
