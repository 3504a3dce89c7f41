//! The leaderboard: ratings from votes beside automatic scores.

use crate::api::{self, ApiResult};
use crate::components::badge::ObjectiveBadge;
use crate::components::note::Empty;
use crate::format::{self, count, percent};
use crate::pages::agreement::agreement;
use crate::pages::compare::compare_page;
use crate::pages::layout::{Head, loaded};
use crate::pages::leaderboard_evidence::{categories, details, verdict};
use crate::pages::questions::{Questions, selected};
use crate::pages::scorers::scorers;
use domain::api::{Agreement, Leaderboard, LeaderboardRow, Rating, WinRate, model_page};
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
        {loaded(load(question), content)}
    }
}

async fn load(question: Question) -> ApiResult<(Leaderboard, Agreement)> {
    Ok((api::leaderboard(question).await?, api::agreement(question).await?))
}

fn content((mut board, agreed): (Leaderboard, Agreement)) -> impl IntoView {
    // One column per metric that at least one model has a score of.
    let has = |row: &LeaderboardRow, metric| row.scores.iter().any(|score| score.metric == metric);
    let metrics: Vec<Metric> =
        Metric::ALL.into_iter().filter(|&metric| board.rows.iter().any(|row| has(row, metric))).collect();
    let evidence = board.evidence.clone();
    let rows = board.rows.clone();
    let by_category = std::mem::take(&mut board.categories);
    let beside = scorers(&agreed);
    view! {
        {evidence.as_ref().map(verdict)}
        {table(board, &metrics)}
        {categories(by_category, &rows)}
        {evidence.map(|evidence| details(evidence, &rows))}
        {agreement(agreed)}
        {beside}
        {definitions(&metrics)}
    }
}

/// What the figures mean: those of every leaderboard, and the metrics of this one.
fn definitions(metrics: &[Metric]) -> impl IntoView + use<> {
    let of_metrics = metrics
        .iter()
        .filter_map(|metric| Some((metric.label(), definition(*metric)?)))
        .map(|(term, text)| view! { <dt>{term}</dt><dd>{text}</dd> })
        .collect_view();
    view! {
        <section class="prose" aria-labelledby="definitions">
            <h2 id="definitions">"About these numbers"</h2>
            <dl class="terms">
                <dt>"Rating"</dt>
                <dd>
                    "Bradley-Terry rating from the votes on the selected question (the newest 20,000), on the Elo scale: the mean is 1000, and a lead of 100 points means about 64 wins in 100 votes that are no ties. \
                     Ties (Davidson's model; “both bad” is a tie), the side of an image and the reliability of raters are estimated with it. \
                     The dark bar is the 95% interval for one look at a time fixed before; votes of one rater, or on one prompt, are not counted as independent."
                </dd>
                <dt>"At any time"</dt>
                <dd>"The light bar: the 95% interval that holds however often one looks, so that a campaign may stop as soon as it tells two models apart. It is shown once the rating's standard error is below 104 points."</dd>
                <dt>"Rank"</dt>
                <dd>"One plus the number of models that are better by the interval of their difference at any time. Models whose difference is not significant share a rank."</dd>
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
                {of_metrics}
            </dl>
        </section>
    }
}

/// What a metric measures, if its name does not tell.
fn definition(metric: Metric) -> Option<&'static str> {
    match metric {
        Metric::ClipScore => Some(
            "Mean cosine similarity of image and prompt under the CLIP of the evaluation, ± half of the 95% interval. The bundled CLIP was trained together with the bundled model, so treat its score as a rough guide.",
        ),
        Metric::ShapeAndColour => Some(
            "Share of images that show the requested shape and colour, according to a rule without a network, ± half of the 95% interval. Only for prompts of the bundled world.",
        ),
        Metric::PromptFollowed => Some(
            "Share of images that show everything that the prompt states: shapes, colours, size, relation and background, by the same rule.",
        ),
        Metric::Clarity => Some(
            "Mean of focus, grain, contrast and blocks, each from 0 to 1, by a rule without a network: the flaws of the bundled quality set. It ignores the prompt.",
        ),
        _ => None,
    }
}

fn table(board: Leaderboard, metrics: &[Metric]) -> impl IntoView + use<> {
    if board.rows.is_empty() {
        return view! {
            <Empty title="No ranking yet">
                <p>"Models appear here once they have been evaluated or judged. "<a href="/judge">"Judge some pairs"</a>"."</p>
            </Empty>
        }
        .into_any();
    }
    let ratings = board.rows.iter().filter_map(|row| row.anytime.or(row.rating));
    let (low, high) = ratings.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), rating| {
        (low.min(rating.low), high.max(rating.high))
    });
    let scale = if low < high { (low, high) } else { (900.0, 1100.0) };
    // Without any vote, the columns of votes would be empty.
    let has_votes = board.rows.iter().any(|row| row.rating.is_some());
    let rows =
        board.rows.into_iter().map(|row| standing(row, has_votes.then_some(scale), metrics)).collect_view();
    let votes = if has_votes {
        let (votes, raters) = (board.votes, board.raters);
        view! { <p class="soft">{count(votes, "vote", "votes")}" by "{count(raters, "rater", "raters")}</p> }
            .into_any()
    } else {
        view! {
            <p class="soft">"No votes on this question yet. "<a href="/judge/compare">"Judge two models"</a></p>
        }
        .into_any()
    };
    view! {
        {votes}
        <table class="cards-on-phone leaderboard">
            <thead>
                <tr>
                    {has_votes.then(|| view! { <th class="figure">"Rank"</th> })}
                    <th>"Model"</th>
                    {has_votes.then(|| view! { <th>"Rating"</th><th class="figure">"Win rate"</th> })}
                    {metrics.iter().map(|metric| view! { <th class="figure">{metric.label()}</th> }).collect_view()}
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

/// One model. `scale`: the range of ratings that the interval bars span; without it the columns of votes are left out.
fn standing(row: LeaderboardRow, scale: Option<(f64, f64)>, metrics: &[Metric]) -> impl IntoView + use<> {
    let scores = metrics
        .iter()
        .map(|&metric| {
            let score = row.scores.iter().find(|score| score.metric == metric);
            let text = score.map_or_else(|| "–".to_owned(), format::score);
            view! { <td data-label=metric.label() class="figure">{text}</td> }
        })
        .collect_view();
    let (rank, rating, rate, anytime) = (row.rank, row.rating, row.win_rate, row.anytime);
    let place = scale.map(|_| {
        let rank = rating.map_or_else(|| "–".to_owned(), |_| rank.to_string());
        view! { <td data-label="Rank" class="figure rank">{rank}</td> }
    });
    let votes = scale.map(|scale| {
        let rating = match rating {
            Some(rating) => interval(rating, anytime, scale).into_any(),
            None => view! { <span class="soft">"no votes yet"</span> }.into_any(),
        };
        let rate = match rate {
            Some(rate) => win_rate(rate).into_any(),
            None => view! { "–" }.into_any(),
        };
        view! {
            <td data-label="Rating">{rating}</td>
            <td data-label="Win rate" class="figure">{rate}</td>
        }
    });
    // A model with adapters has no card of its own, and evaluations do not draw its images.
    let model = if row.lora.is_empty() {
        view! {
            <a href=model_page(row.model_id)>{row.model.clone()}</a>
            {row.objective.map(|kind| view! { <ObjectiveBadge kind /> })}
            <a class="judge-link" href=compare_page(&row.model) title=format!("Judge {} against another model", row.model)>"Judge"</a>
        }
        .into_any()
    } else {
        view! { {row.model} }.into_any()
    };
    view! {
        <tr>
            {place}
            <td class="lead">{model}</td>
            {votes}
            {scores}
        </tr>
    }
}

/// A rating with bars for its intervals: for one look, and at any time.
fn interval(rating: Rating, anytime: Option<Rating>, (low, high): (f64, f64)) -> impl IntoView {
    let position = |value: f64| ((value - low) / (high - low) * 100.0).clamp(0.0, 100.0);
    let bar = |rating: Rating| {
        let (left, width) = (position(rating.low), position(rating.high) - position(rating.low));
        format!("left:{left:.1}%;width:{width:.1}%")
    };
    let dot = format!("left:{:.1}%", position(rating.value));
    let ends = |rating: Rating| format!("{:.0} to {:.0}", rating.low, rating.high);
    view! {
        <span class="interval">
            <b class="figure">{format!("{:.0}", rating.value)}</b>
            <span class="track" aria-hidden="true">
                {anytime.map(|anytime| view! { <span class="bar anytime" style=bar(anytime)></span> })}
                <span class="bar" style=bar(rating)></span>
                <span class="point" style=dot></span>
            </span>
            <small class="soft figure">
                {ends(rating)}
                {anytime.map(|anytime| view! { <br /> {format!("at any time {}", ends(anytime))} })}
            </small>
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
