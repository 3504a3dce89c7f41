//! Beside the raters: metrics by category, over time and in a blend, and the pairs on which they part from people.

use crate::format::{count, percent};
use domain::api::{Agreement, MetricAgreement, PartedPair, ScorerBlend, ScorerDrift};
use leptos::prelude::*;
use std::collections::BTreeSet;

/// The sections of an agreement that metrics give; nothing without judged images that have scores.
pub(crate) fn scorers(agreement: &Agreement) -> impl IntoView + use<> {
    view! {
        {drifts(&agreement.metrics)}
        {by_category(&agreement.metrics)}
        {agreement.blend.as_ref().map(blend)}
        {parted(&agreement.parted)}
    }
}

/// A warning for each metric that agrees less with the newest votes.
fn drifts(metrics: &[MetricAgreement]) -> impl IntoView + use<> {
    let drifted: Vec<(&str, &ScorerDrift)> = metrics
        .iter()
        .filter_map(|of| Some((of.metric.label(), of.drift.as_ref().filter(|drift| drift.has_drifted)?)))
        .collect();
    if drifted.is_empty() {
        return ().into_any();
    }
    let items = drifted
        .into_iter()
        .map(|(metric, drift)| {
            let text = format!(
                ": {} of the newest {} against {} of the {} before; the difference is {} to {} points.",
                percent(drift.newest_accuracy),
                count(drift.newest_votes, "vote", "votes"),
                percent(drift.earlier_accuracy),
                drift.earlier_votes,
                points(drift.low),
                points(drift.high)
            );
            view! { <li><strong>{metric}</strong>{text}</li> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="drift">
            <h2 id="drift">"Scorers that have drifted from your raters"</h2>
            <p>"These metrics agree less with the newest quarter of the votes than with those before, at 95% confidence each."</p>
            <ul>{items}</ul>
        </section>
    }
    .into_any()
}

/// A difference of shares in points of a percentage.
fn points(difference: f64) -> String {
    format!("{:+.1}", 100.0 * difference)
}

/// Agreement by category: metrics in rows.
fn by_category(metrics: &[MetricAgreement]) -> impl IntoView + use<> {
    let names: BTreeSet<&String> =
        metrics.iter().flat_map(|of| &of.categories).map(|of| &of.category).collect();
    if names.is_empty() {
        return ().into_any();
    }
    let head = names.iter().map(|name| view! { <th class="figure">{(*name).clone()}</th> }).collect_view();
    let rows = metrics
        .iter()
        .filter(|of| !of.categories.is_empty())
        .map(|of| {
            let cells = names.iter().map(|name| match of.categories.iter().find(|known| known.category == **name) {
                Some(known) => {
                    let votes = count(known.votes, "vote", "votes");
                    view! { <td class="figure">{percent(known.accuracy)}<br /><small class="soft">{votes}</small></td> }.into_any()
                }
                None => view! { <td class="figure">"–"</td> }.into_any(),
            });
            view! { <tr><th scope="row">{of.metric.label()}</th>{cells.collect_view()}</tr> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="scorers-by-category">
            <h2 id="scorers-by-category">"Agreement with votes by category"</h2>
            <div class="scrolls" tabindex="0">
                <table class="matrix">
                    <thead><tr><th>"Metric"</th>{head}</tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn blend(blend: &ScorerBlend) -> impl IntoView + use<> {
    let weights = blend
        .weights
        .iter()
        .map(|of| {
            view! {
                <tr>
                    <td class="lead">{of.metric.label()}</td>
                    <td data-label="Weight" class="figure">{format!("{:+.2}", of.weight)}</td>
                </tr>
            }
        })
        .collect_view();
    let groups = blend
        .calibration
        .iter()
        .map(|group| {
            view! {
                <tr>
                    <td data-label="Predicted" class="figure">{percent(group.predicted)}</td>
                    <td data-label="Observed" class="figure">{percent(group.observed)}</td>
                    <td data-label="Votes" class="figure">{group.votes}</td>
                </tr>
            }
        })
        .collect_view();
    let text = format!(
        "A logistic regression of {} with a winner, on {}, predicts from the differences of scores which image people prefer. On prompts \
         that it was not fitted to (five folds) it names the winner of {} of the votes; the best single metric names {}. Its log loss is \
         {:.3}; that of a coin is 0.693.",
        count(blend.votes, "vote", "votes"),
        count(blend.prompts, "prompt", "prompts"),
        percent(blend.accuracy),
        percent(blend.best_single),
        blend.log_loss
    );
    view! {
        <section aria-labelledby="blend">
            <h2 id="blend">"A blend of the metrics"</h2>
            <p>{text}</p>
            <table class="cards-on-phone">
                <thead><tr><th>"Metric"</th><th class="figure">"Weight"</th></tr></thead>
                <tbody>{weights}</tbody>
            </table>
            <p class="soft">"Weight: log-odds that an image wins per standard deviation of the difference of its scores."</p>
            <h3>"Predicted and observed shares"</h3>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th class="figure">"Predicted"</th>
                        <th class="figure">"Observed"</th>
                        <th class="figure">"Votes"</th>
                    </tr>
                </thead>
                <tbody>{groups}</tbody>
            </table>
        </section>
    }
}

/// Pairs on which raters and a metric part.
fn parted(pairs: &[PartedPair]) -> impl IntoView + use<> {
    if pairs.is_empty() {
        return ().into_any();
    }
    let figures = pairs.iter().cloned().map(pair).collect_view();
    view! {
        <section aria-labelledby="parted">
            <h2 id="parted">"Where metrics and raters part"</h2>
            <p class="soft">"Of each metric, the pairs of the newest votes with the largest difference of scores against the votes."</p>
            <div class="parted">{figures}</div>
        </section>
    }
    .into_any()
}

fn pair(pair: PartedPair) -> impl IntoView {
    let preferred = format!("Preferred by raters: {}", pair.prompt);
    let scored = format!("Preferred by {}: {}", pair.metric.label(), pair.prompt);
    let votes = format!(
        "Left: raters, {} to {}, score {:.3}. Right: {}, score {:.3}.",
        pair.votes_for,
        pair.votes_against,
        pair.preferred_score,
        pair.metric.label(),
        pair.scored_score
    );
    view! {
        <figure>
            <div>
                <img src=pair.preferred_url alt=preferred loading="lazy" />
                <img src=pair.scored_url alt=scored loading="lazy" />
            </div>
            <figcaption>{pair.prompt}<br /><small class="soft">{votes}</small></figcaption>
        </figure>
    }
}
