//! The leaderboard: ratings from votes beside automatic scores.

use crate::api;
use crate::components::badge::ObjectiveBadge;
use crate::components::note::Empty;
use crate::format::{self, count, percent};
use crate::pages::agreement::agreement;
use crate::pages::layout::{Head, loaded};
use crate::pages::questions::{Questions, selected};
use domain::api::{Leaderboard, LeaderboardRow, Rating, WinRate};
use domain::evaluate::Metric;
use domain::preference::Question;
use leptos::prelude::*;

#[component]
pub(crate) fn LeaderboardPage() -> impl IntoView {
    let question = selected();
    view! {
        <Head title="Leaderboard" lead="Ratings from human votes, beside automatic scores." />
        <Questions
            address=|question: Question| format!("/leaderboard?question={}", question.as_str()) current=question
        />
        {loaded(api::leaderboard(question), table)}
        {loaded(api::agreement(question), agreement)}
        {definitions()}
    }
}

fn definitions() -> impl IntoView {
    view! {
        <section class="prose" aria-labelledby="definitions">
            <h2 id="definitions">"About these numbers"</h2>
            <dl class="terms">
                <dt>"Rating"</dt>
                <dd>
                    "Bradley-Terry rating from all votes on the selected question, on the Elo scale: the mean is 1000, and a lead of 100 points means about 64 wins in 100. \
                     The bar is the 95% interval. Ties and “both bad” count as half a win for each side."
                </dd>
                <dt>"Rank"</dt>
                <dd>"One plus the number of models whose interval lies entirely above. Models whose difference is not significant share a rank."</dd>
                <dt>"Win rate"</dt>
                <dd>"Wins plus half the ties, divided by all votes on the model, with the 95% Wilson interval and the number of votes."</dd>
                <dt>"Elo"</dt>
                <dd>"Elo rating, updated vote by vote. It depends on the order of the votes and has no interval."</dd>
                <dt>"Alpha"</dt>
                <dd>"Krippendorff's alpha between raters who judged the same two images: 1 is full agreement, 0 is chance."</dd>
                <dt>"Agreement with votes"</dt>
                <dd>"Share of votes where the image that the rater preferred has the higher score. A tie on one side only counts as half."</dd>
                <dt>"Rank correlation"</dt>
                <dd>"Spearman correlation between the models' ratings and their mean scores: 1 is the same order. It is unreliable for few models."</dd>
                <dt>"CLIP score"</dt>
                <dd>"Mean cosine similarity of image and prompt under the bundled CLIP, ± half of the 95% interval. This CLIP was trained together with the base model, so treat the score as a rough guide."</dd>
                <dt>"Shape & colour"</dt>
                <dd>"Share of images that show the requested shape and colour, according to a rule without a network, ± half of the 95% interval."</dd>
            </dl>
        </section>
    }
}

fn table(board: Leaderboard) -> impl IntoView {
    if board.rows.is_empty() {
        return view! {
            <Empty title="No ranking yet">
                <p>"Models appear here once they have been evaluated or judged. "<a href="/judge">"Judge some pairs"</a>"."</p>
            </Empty>
        }
        .into_any();
    }
    let ratings = board.rows.iter().filter_map(|row| row.rating);
    let (low, high) = ratings.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), rating| {
        (low.min(rating.low), high.max(rating.high))
    });
    let scale = if low < high { (low, high) } else { (900.0, 1100.0) };
    // One column per metric that at least one model has a score of.
    let metrics: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|&metric| board.rows.iter().any(|row| row.scores.iter().any(|score| score.metric == metric)))
        .collect();
    let rows = board.rows.into_iter().map(|row| standing(row, scale, &metrics)).collect_view();
    view! {
        <p class="soft">{count(board.votes, "vote", "votes")}" by "{count(board.raters, "rater", "raters")}</p>
        <table class="cards-on-phone leaderboard">
            <thead>
                <tr>
                    <th class="figure">"Rank"</th>
                    <th>"Model"</th>
                    <th>"Rating"</th>
                    <th class="figure">"Win rate"</th>
                    {metrics.iter().map(|metric| view! { <th class="figure">{metric.label()}</th> }).collect_view()}
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

/// One model. `scale` is the range of ratings that the interval bars span.
fn standing(row: LeaderboardRow, scale: (f64, f64), metrics: &[Metric]) -> impl IntoView + use<> {
    let scores = metrics
        .iter()
        .map(|&metric| {
            let score = row.scores.iter().find(|score| score.metric == metric);
            let text = score.map_or_else(|| "–".to_owned(), format::score);
            view! { <td data-label=metric.label() class="figure">{text}</td> }
        })
        .collect_view();
    view! {
        <tr>
            <td data-label="Rank" class="figure rank">{row.rating.map_or_else(|| "–".to_owned(), |_| row.rank.to_string())}</td>
            <td class="lead">
                <a href=format!("/models#{}", row.model)>{row.model.clone()}</a>
                {row.objective.map(|kind| view! { <ObjectiveBadge kind /> })}
            </td>
            <td data-label="Rating">
                {row.rating.map_or_else(|| view! { <span class="soft">"no votes yet"</span> }.into_any(), |rating| interval(rating, scale).into_any())}
            </td>
            <td data-label="Win rate" class="figure">{row.win_rate.map_or_else(|| view! { "–" }.into_any(), |rate| win_rate(rate).into_any())}</td>
            {scores}
        </tr>
    }
}

/// A rating with a bar for its interval.
fn interval(rating: Rating, (low, high): (f64, f64)) -> impl IntoView {
    let position = |value: f64| (value - low) / (high - low) * 100.0;
    let (left, width) = (position(rating.low), position(rating.high) - position(rating.low));
    let bar = format!("left:{left:.1}%;width:{width:.1}%");
    let dot = format!("left:{:.1}%", position(rating.value));
    view! {
        <span class="interval">
            <b class="figure">{format!("{:.0}", rating.value)}</b>
            <span class="track" aria-hidden="true">
                <span class="bar" style=bar></span>
                <span class="point" style=dot></span>
            </span>
            <small class="soft figure">{format!("{:.0} to {:.0}", rating.low, rating.high)}</small>
        </span>
    }
}

fn win_rate(rate: WinRate) -> impl IntoView {
    view! {
        {percent(rate.value)}
        <br />
        <small class="soft">
            {format!("{} to {}, {}", percent(rate.low), percent(rate.high), count(rate.votes, "vote", "votes"))}
        </small>
    }
}
