//! The pair or set of a desk: the question, the images, and the buttons. All images are enlarged and moved together.

use crate::components::desk::Desk;
use crate::components::desk_answer::SIDES;
use crate::components::desk_set::SetAnswers;
use domain::api::BlindMatchup;
use domain::preference::Choice;
use leptos::prelude::*;
use leptos::web_sys::{Element, PointerEvent};
use wasm_bindgen::JsCast;

/// The images and the answers. The buttons stay when the next pair comes, and with them the focus.
#[component]
pub(crate) fn Pair(desk: Desk) -> impl IntoView {
    // A response that changes only what follows must not draw the images anew.
    let matchup = Memo::new(move |_| desk.current.read().matchup.clone());
    let id = move || matchup.read().as_ref().map(|matchup| matchup.id.to_string());
    let models = move || desk.current.read().models.join(",");
    let images = Memo::new(move |_| matchup.read().as_ref().map_or(0, BlindMatchup::images));
    let question = move || {
        let is_set = images.get() > 2;
        matchup
            .read()
            .as_ref()
            .map(|matchup| if is_set { matchup.question.text_of_set() } else { matchup.question.text() })
    };
    let language =
        move || desk.current.read().campaign.as_ref().and_then(|campaign| campaign.language.clone());
    let prompt = move || matchup.read().as_ref().map(|matchup| matchup.prompt.clone());
    view! {
        // The buttons answer when clicked; the form is submitted only without JavaScript.
        <form method="post" action=desk.form_address() on:submit=move |event| event.prevent_default()>
            <input type="hidden" name="matchup" value=id />
            <input type="hidden" name="models" value=models />
            <p class="question">
                <span class="soft">{question}</span>
                <strong lang=language>{prompt}</strong>
            </p>
            <div
                class="sides"
                class:flicker=move || desk.flicker.read().is_some()
                class:enlarged=move || { desk.zoom.get() > 1 }
                class:of-set=move || { images.get() > 2 }
            >
                {move || matchup.get().map(|matchup| view! { <Sides desk matchup /> })}
            </div>
            {move || {
                if images.get() > 2 {
                    view! { <SetAnswers desk /> }.into_any()
                } else {
                    view! { <PairAnswers desk /> }.into_any()
                }
            }}
        </form>
        <Tools desk />
        <Preload desk />
    }
}

#[component]
fn PairAnswers(desk: Desk) -> impl IntoView {
    view! {
        <div class="answers">
            <Answer desk choice=Some(Choice::Left) label="1 is better" key="1" />
            <Answer desk choice=Some(Choice::Right) label="2 is better" key="2" />
            <Answer desk choice=Some(Choice::Tie) label="Tie" key="3" />
            <Answer desk choice=Some(Choice::BothBad) label="Both bad" key="4" />
            <Answer desk choice=None label="Skip" key="N" />
        </div>
    }
}

#[component]
fn Sides(desk: Desk, matchup: BlindMatchup) -> impl IntoView {
    let is_set = matchup.images() > 2;
    let BlindMatchup { left_url, right_url, more_urls, .. } = matchup;
    let addresses = [left_url, right_url].into_iter().chain(more_urls);
    let sides = (1..).zip(addresses).map(|(number, address)| view! { <Side desk number address is_set /> });
    sides.collect_view()
}

/// One image, as a button that votes for it.
#[component]
fn Side(desk: Desk, number: u8, address: String, is_set: bool) -> impl IntoView {
    let side = SIDES[usize::from(number - 1).min(SIDES.len() - 1)];
    let is_second = number == 2;
    let choice = if is_second { Choice::Right } else { Choice::Left };
    let value = if is_set { format!("best-{number}") } else { side.to_owned() };
    let better = if is_set { "the best" } else { "better" };
    let style = move || {
        let ((x, y), zoom) = (desk.centre.get(), desk.zoom.get());
        if zoom > 1 {
            format!("transform: scale({zoom}); transform-origin: {x:.1}% {y:.1}%")
        } else {
            String::new()
        }
    };
    // The space separates it from the number: the accessible name holds both.
    let rank = move || {
        desk.rank_of(number).map(|rank| view! { <span class="rank">{format!(" rank {rank}")}</span> })
    };
    view! {
        <button
            type="submit" name="choice" value=value
            class=format!("side {side}")
            class:behind=move || desk.flicker.get().is_some_and(|second| second != is_second)
            aria-label=move || match desk.rank_of(number) {
                Some(rank) => format!("Image {number} rank {rank}"),
                None => format!("Image {number} is {better}"),
            }
            on:click=move |_| { if is_set { desk.pick(number) } else { desk.answer(Some(choice)) } }
            on:pointermove=move |event| follow(desk, &event)
        >
            <img src=address alt=format!("Image {number}") draggable="false" style=style />
            <span class="number" aria-hidden="true">{number}</span>
            {rank}
        </button>
    }
}

/// Moves both enlarged images so that the pointer's place shows the same place of the images.
fn follow(desk: Desk, event: &PointerEvent) {
    if desk.zoom.get_untracked() <= 1 {
        return;
    }
    let Some(side) = event.current_target().and_then(|target| target.dyn_into::<Element>().ok()) else {
        return;
    };
    let place = side.get_bounding_client_rect();
    if place.width() > 0.0 && place.height() > 0.0 {
        let percent = |at: f64, from: f64, length: f64| (100.0 * (at - from) / length).clamp(0.0, 100.0);
        let x = percent(f64::from(event.client_x()), place.left(), place.width());
        desk.centre.set((x, percent(f64::from(event.client_y()), place.top(), place.height())));
    }
}

#[component]
fn Answer(desk: Desk, choice: Option<Choice>, label: &'static str, key: &'static str) -> impl IntoView {
    view! {
        <button
            type="submit" name="choice" value=choice.map_or("skip", Choice::as_str)
            on:click=move |_| desk.answer(choice)
        >
            <span>{label}</span>
            <kbd>{key}</kbd>
        </button>
    }
}

/// Ways to look closer. They need JavaScript, and are hidden without.
#[component]
fn Tools(desk: Desk) -> impl IntoView {
    let zoom = move || format!("Zoom {}x", desk.zoom.get());
    let pressed = move |on: bool| if on { "true" } else { "false" };
    view! {
        <div class="desk-tools">
            <button type="button" on:click=move |_| desk.pause()>"Pause" <kbd>"P"</kbd></button>
            <button
                type="button" aria-pressed=move || pressed(desk.zoom.get() > 1) on:click=move |_| desk.enlarge()
            >
                {zoom} <kbd>"Z"</kbd>
            </button>
            <button
                type="button" hidden=move || desk.is_set() aria-pressed=move || pressed(desk.flicker.read().is_some())
                on:click=move |_| { desk.handle_key("f"); }
            >
                {move || match desk.flicker.get() {
                    None => "Flicker",
                    Some(false) => "Flicker: 1",
                    Some(true) => "Flicker: 2",
                }}
                <kbd>"F"</kbd>
            </button>
            <button
                type="button" disabled=move || desk.flicker.read().is_none() && desk.zoom.get() == 1
                on:click=move |_| { desk.handle_key("Escape"); }
            >
                "Side by side" <kbd>"Esc"</kbd>
            </button>
        </div>
    }
}

/// Loads the images of the pairs that follow.
#[component]
fn Preload(desk: Desk) -> impl IntoView {
    let upcoming = Memo::new(move |_| desk.current.read().upcoming.clone());
    let images = move || {
        let upcoming = upcoming.get().into_iter();
        let image = |address| view! { <img src=address alt="" /> };
        let addresses =
            upcoming.flat_map(|next| [next.left_url, next.right_url].into_iter().chain(next.more_urls));
        addresses.map(image).collect_view()
    };
    view! { <div class="preload" aria-hidden="true">{images}</div> }
}
