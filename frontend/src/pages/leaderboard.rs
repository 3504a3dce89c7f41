//! Ratings by people beside scores by machines.

use crate::api;
use crate::components::badge::ObjectiveBadge;
use crate::components::note::Empty;
use crate::format::{count, percent};
use crate::pages::questions::{Questions, asked};
use crate::pages::{Head, loaded};
use domain::api::{Agreement, Leaderboard, LeaderboardRow, MetricAgreement, ModelScore, Rating, WinRate};
use domain::evaluate::Metric;
use leptos::prelude::*;

/// The table and what its numbers mean.
#[component]
pub(crate) fn LeaderboardPage() -> impl IntoView {
    let question = asked();
    view! {
        <Head title="Leaderboard" lead="What people prefer, beside what machines measure." />
        <Questions page="/leaderboard" current=question />
        {loaded(api::leaderboard(question), table)}
        {loaded(api::agreement(question), agreement)}
        <section class="prose" aria-labelledby="measured">
            <h2 id="measured">"What is measured"</h2>
            <dl class="terms">
                <dt>"Rating"</dt>
                <dd>
                    "A Bradley-Terry rating from all votes by the chosen question on the Elo scale: 1000 is the mean, and 100 points more mean about 64 wins in 100. \
                     The bar is its 95% interval. Ties and “both bad” count as half a win for each side."
                </dd>
                <dt>"Rank"</dt>
                <dd>"One more than the number of models whose whole interval lies above. Models that the votes cannot tell apart share a rank."</dd>
                <dt>"Win rate"</dt>
                <dd>"Wins plus half the ties over all votes of the model, with its 95% Wilson interval and the number of votes."</dd>
                <dt>"Elo"</dt>
                <dd>"A second view of the same votes: it follows them one by one, so it depends on their order, and it has no interval."</dd>
                <dt>"Alpha"</dt>
                <dd>"Krippendorff's alpha of what raters said of the same two images: 1 is full agreement, 0 what chance would give."</dd>
                <dt>"Agrees with people"</dt>
                <dd>"Share of votes where the image that people prefer has the higher score; half a vote where one side alone finds them equal."</dd>
                <dt>"Rank correlation"</dt>
                <dd>"Spearman's correlation of the models' ratings by people and their mean scores: 1 is the same order. Of few models it says little."</dd>
                <dt>"CLIP score"</dt>
                <dd>"Mean cosine of image and prompt in the features of the bundled CLIP, ± half its 95% interval. It was trained beside the base model: a guide, not a judge."</dd>
                <dt>"Shape & colour"</dt>
                <dd>"Share of images that show the asked shape and colour, by a stated rule that uses no network, ± half its 95% interval."</dd>
            </dl>
        </section>
    }
}

fn table(board: Leaderboard) -> impl IntoView {
    if board.rows.is_empty() {
        return view! {
            <Empty title="Nothing to rank yet">
                <p>"Models appear here once they have been evaluated or judged. "<a href="/judge">"Judge some pairs"</a>"."</p>
            </Empty>
        }
        .into_any();
    }
    let ends = board.rows.iter().filter_map(|row| row.rating);
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), rating| {
        (low.min(rating.low), high.max(rating.high))
    });
    let scale = if low < high { (low, high) } else { (900.0, 1100.0) };
    // A column for each metric that anybody was scored by: nobody has the files of all.
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
                    <th>"Rating by people"</th>
                    <th class="figure">"Win rate"</th>
                    {metrics.iter().map(|metric| view! { <th class="figure">{metric.label()}</th> }).collect_view()}
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

/// Who beats whom, and who agrees with whom; nothing before two models were judged.
fn agreement(found: Agreement) -> impl IntoView {
    if found.models.len() < 2 {
        return ().into_any();
    }
    let raters = match (found.judged_by_several, found.alpha) {
        (0, _) => {
            "No two images were judged by two raters yet: whether raters agree is not known.".to_owned()
        }
        (pairs, None) => {
            format!(
                "On {}, all raters said the same: agreement beyond chance is not defined.",
                judged_pairs(pairs)
            )
        }
        (pairs, Some(alpha)) => {
            format!("Alpha {alpha:.2} on {} by several raters.", judged_pairs(pairs))
        }
    };
    let head =
        found.models.iter().map(|model| view! { <th class="figure">{model.clone()}</th> }).collect_view();
    let rows = found.models.iter().zip(&found.win_rates).zip(&found.elo).map(|((model, rates), elo)| {
        let cells = found.models.iter().zip(rates).map(|(other, rate)| {
            let text = rate.map_or_else(|| "–".to_owned(), |rate| percent(rate.value));
            let title = rate.map(|rate| {
                let (low, high) = (percent(rate.low), percent(rate.high));
                format!("{model} against {other}: {low} to {high}, {}", count(rate.votes, "vote", "votes"))
            });
            view! { <td class="figure" title=title>{text}</td> }
        });
        view! { <tr><th scope="row">{model.clone()}</th>{cells.collect_view()}<td class="figure">{format!("{elo:.0}")}</td></tr> }
    });
    let rows = rows.collect_view();
    let metrics = found.metrics.into_iter().map(beside_people).collect_view();
    view! {
        <section aria-labelledby="against">
            <h2 id="against">"Who beats whom"</h2>
            <p class="soft">"Win rate of the row's model against the column's."</p>
            <div class="scrolls" tabindex="0" role="region" aria-labelledby="against">
                <table class="matrix">
                    <thead><tr><th>"Model"</th>{head}<th class="figure">"Elo"</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
        <section aria-labelledby="agree">
            <h2 id="agree">"Who agrees with whom"</h2>
            <p>{raters}</p>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Score"</th>
                        <th class="figure">"Agrees with people"</th>
                        <th class="figure">"Rank correlation"</th>
                    </tr>
                </thead>
                <tbody>{metrics}</tbody>
            </table>
        </section>
    }
    .into_any()
}

fn judged_pairs(pairs: i64) -> String {
    count(pairs, "pair of images", "pairs of images")
}

fn beside_people(found: MetricAgreement) -> impl IntoView {
    let of = |known: Option<String>, what: String| {
        view! { {known.unwrap_or_else(|| "–".to_owned())} <small class="soft">" of "{what}</small> }
    };
    view! {
        <tr>
            <td class="lead">{found.metric.label()}</td>
            <td data-label="Agrees with people" class="figure">{of(found.accuracy.map(percent), count(found.votes, "vote", "votes"))}</td>
            <td data-label="Rank correlation" class="figure">
                {of(found.rank_correlation.map(|rho| format!("{rho:.2}")), count(found.models, "model", "models"))}
            </td>
        </tr>
    }
}

fn standing(row: LeaderboardRow, scale: (f64, f64), metrics: &[Metric]) -> impl IntoView + use<> {
    let scores = metrics
        .iter()
        .map(|&metric| {
            let score = row.scores.iter().find(|score| score.metric == metric);
            let text = score.map_or_else(|| "–".to_owned(), score_text);
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
            <td data-label="Rating by people">
                {row.rating.map_or_else(|| view! { <span class="soft">"no votes yet"</span> }.into_any(), |rating| interval(rating, scale).into_any())}
            </td>
            <td data-label="Win rate" class="figure">{row.win_rate.map_or_else(|| view! { "–" }.into_any(), |rate| win_rate(rate).into_any())}</td>
            {scores}
        </tr>
    }
}

/// A rating with a bar for its interval.
fn interval(rating: Rating, (low, high): (f64, f64)) -> impl IntoView {
    let place = |value: f64| (value - low) / (high - low) * 100.0;
    let bar = format!("left:{:.1}%;width:{:.1}%", place(rating.low), place(rating.high) - place(rating.low));
    let dot = format!("left:{:.1}%", place(rating.value));
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

/// A mean score with half its interval.
pub(crate) fn score_text(score: &ModelScore) -> String {
    match score.metric {
        Metric::ShapeAndColour => format!("{} ± {:.1}", percent(score.mean), score.half_width * 100.0),
        Metric::HpsV20 | Metric::HpsV21 | Metric::PickScore | Metric::Aesthetic => {
            format!("{:.2} ± {:.2}", score.mean, score.half_width)
        }
        Metric::ClipScore | Metric::ClipScoreH14 | Metric::ClipScoreL14 | Metric::ImageReward => {
            format!("{:.3} ± {:.3}", score.mean, score.half_width)
        }
    }
}
