//! The raters of a campaign, for its owner.

use crate::format::percent;
use domain::api::CampaignRater;
use leptos::prelude::*;

/// What each rater has done, with what tells careful raters from careless ones.
pub(super) fn section(people: Vec<CampaignRater>) -> impl IntoView {
    let rows = people
        .into_iter()
        .map(|rater| {
            let of = |right: u32, all: u32| if all == 0 { "–".to_owned() } else { format!("{right} of {all}") };
            let sides = rater.left + rater.right;
            let left = if sides == 0 { "–".to_owned() } else { percent(f64::from(rater.left) / f64::from(sides)) };
            let seconds = rater.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"));
            view! {
                <tr>
                    <td class="lead">{rater.pseudonym}</td>
                    <td data-label="Panel's name">{rater.external_id.unwrap_or_else(|| "–".to_owned())}</td>
                    <td data-label="Votes" class="figure">{rater.votes}</td>
                    <td data-label="Left" class="figure">{left}</td>
                    <td data-label="Time" class="figure">{seconds}</td>
                    <td data-label="Exam" class="figure">{of(rater.exam_right, rater.exam_answered)}</td>
                    <td data-label="Known answers" class="figure">{of(rater.gold_right, rater.gold_answered)}</td>
                    <td data-label="Repeated alike" class="figure">{of(rater.repeats_same, rater.repeats_answered)}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section aria-labelledby="raters">
            <h2 id="raters">"Raters"</h2>
            <p class="soft">
                "Left: the share of answers for one of the two images that chose the left one. Sides are drawn at random, so far from 50% "
                "after many answers means that the rater does not look. Time: the median between two answers, without breaks."
            </p>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Rater"</th>
                        <th>"Panel's name"</th>
                        <th class="figure">"Votes"</th>
                        <th class="figure">"Left"</th>
                        <th class="figure">"Time"</th>
                        <th class="figure">"Exam"</th>
                        <th class="figure">"Known answers"</th>
                        <th class="figure">"Repeated alike"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
    }
}
