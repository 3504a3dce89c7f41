//! A desk's answers on their way: what the status line says, how they are sent, and whether the page can take one.

use crate::api::{self, ApiResult};
use crate::components::desk_queue::Unsent;
use crate::components::hydration::property;
use domain::api::{DeskRequest, NextMatchup, VoteRequest, VoteResponse};
use domain::preference::Choice;
use leptos::prelude::window;

/// The names of the images of a pair or set, in their order.
pub(crate) const SIDES: [&str; 4] = ["left", "right", "third", "fourth"];

/// What the status line says of an answer.
pub(crate) fn said(choice: Option<Choice>, order: &[u8]) -> String {
    let text = match (choice, order) {
        (Some(Choice::Left), _) => "Your answer: 1 is better.",
        (Some(Choice::Right), _) => "Your answer: 2 is better.",
        (Some(Choice::Tie), _) => "Your answer: a tie.",
        (Some(Choice::BothBad), _) => "Your answer: both are bad.",
        (None, []) => "Skipped.",
        (None, [best]) => return format!("Your answer: {best} is the best."),
        (None, order) => {
            let order: Vec<String> = order.iter().map(u8::to_string).collect();
            return format!("Your answer: {}.", order.join(", "));
        }
    };
    text.to_owned()
}

/// Sends an answer. Returns what is open next, and a sentence with the models if they are revealed.
pub(crate) async fn sent(unsent: Unsent, reveal: bool) -> ApiResult<(NextMatchup, Option<String>)> {
    let Unsent { matchup, choice, order, models, campaign } = unsent;
    if let Some(campaign) = campaign {
        if !order.is_empty() {
            return Ok((api::rank_in_campaign(campaign, matchup.id, order).await?, None));
        }
        return Ok((api::answer_in_campaign(campaign, matchup.id, choice).await?, None));
    }
    let Some(choice) = choice else {
        return Ok((api::skip(matchup.id, &DeskRequest { models }).await?, None));
    };
    let VoteResponse { left_model, right_model, next, .. } =
        api::vote(matchup.id, &VoteRequest { choice, models, reveal }).await?;
    let verdict = left_model.zip(right_model).map(|(left, right)| match choice {
        Choice::Left => format!("You chose {left} over {right}."),
        Choice::Right => format!("You chose {right} over {left}."),
        Choice::Tie => format!("A tie between {left} and {right}."),
        Choice::BothBad => format!("You rated {left} and {right} both bad."),
    });
    Ok((next, verdict))
}

/// Whether all images of the pair or set have loaded.
pub(crate) fn images_are_shown(images: u8) -> bool {
    SIDES.iter().take(usize::from(images)).all(|side| {
        let width = property(&format!(".side.{side} img"), "naturalWidth").and_then(|width| width.as_f64());
        width.is_some_and(|width| width > 0.0)
    })
}

/// Whether the page is longer than the window.
pub(crate) fn scrolls() -> bool {
    let window = window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or(0.0);
    property("html", "scrollHeight")
        .and_then(|height| height.as_f64())
        .is_none_or(|height| height > window + 1.0)
}
