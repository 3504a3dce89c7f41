//! The judged images of a closed campaign, and when its answers came.

use crate::format::{count, moment, percent};
use domain::api::{CampaignItem, path};
use domain::pace::Pace;
use leptos::prelude::*;

/// Pairs of images with the split of their votes, the most disputed first.
pub(super) fn gallery(items: Vec<CampaignItem>) -> impl IntoView {
    if items.is_empty() {
        return ().into_any();
    }
    let items = items.into_iter().map(|item| {
        let votes = item.wins + item.losses + item.ties + item.both_bad;
        let share = |part: u32| f64::from(part) / f64::from(votes.max(1));
        let neither = item.ties + item.both_bad;
        let split = format!("{} for 1, {} for 2, {} ties, {} both bad", item.wins, item.losses, item.ties, item.both_bad);
        let bar = [("a", item.wins), ("neither", neither), ("b", item.losses)].map(|(class, part)| {
            let style = format!("width: {:.1}%", 100.0 * share(part));
            (part > 0).then(|| view! { <span class=class style=style></span> })
        });
        let image = |id: String, number: u8, model: String| {
            let address = path::IMAGE_FILE.replace("{id}", &id);
            view! {
                <figure>
                    <img src=address alt=format!("Image {number}, by {model}") loading="lazy" width="256" height="256" />
                    <figcaption>{format!("{number}: {model}")}</figcaption>
                </figure>
            }
        };
        view! {
            <li>
                <p><strong>{item.prompt}</strong>" "<span class="soft">{item.question.label()}</span></p>
                <div class="split-images">
                    {image(item.image.to_string(), 1, item.model)} {image(item.against_image.to_string(), 2, item.against)}
                </div>
                <div class="split" role="img" aria-label=split.clone()>{bar.into_iter().collect_view()}</div>
                <p class="soft">{split}{(votes > 1).then(|| format!(" · {} dispute", percent(item.dispute)))}</p>
            </li>
        }
    });
    view! {
        <section aria-labelledby="gallery">
            <h2 id="gallery">"Judged images, the most disputed first"</h2>
            <p class="soft">"Dispute is the probability that two of the votes, drawn at random, differ; ties and \"both bad\" are one answer."</p>
            <ul class="plain split-items">{items.collect_view()}</ul>
        </section>
    }
    .into_any()
}

/// Answers over time, as bars.
pub(super) fn pace(pace: &[Pace]) -> impl IntoView + use<> {
    let (Some(first), Some(last)) = (pace.first().copied(), pace.last().copied()) else {
        return ().into_any();
    };
    let period = match first.hours {
        1 => "hour",
        24 => "day",
        _ => "week",
    };
    let most = pace.iter().map(|period| period.answers).max().unwrap_or(1).max(1);
    let all: i64 = pace.iter().map(|period| i64::from(period.answers)).sum();
    let bars = pace.iter().map(|bucket| {
        let style = format!("height: {:.1}%", 100.0 * f64::from(bucket.answers) / f64::from(most));
        view! { <span style=style title=format!("{}: {}", moment(bucket.from), bucket.answers)></span> }
    });
    let text = format!(
        "{} from {} to {}, at most {most} in one {period}",
        count(all, "vote", "votes"),
        moment(first.from),
        moment(last.from)
    );
    view! {
        <section aria-labelledby="pace">
            <h2 id="pace">{format!("Votes per {period}")}</h2>
            <div class="pace" role="img" aria-label=text.clone()>{bars.collect_view()}</div>
            <p class="soft">{text}</p>
        </section>
    }
    .into_any()
}
