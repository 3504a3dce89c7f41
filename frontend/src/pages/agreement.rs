//! The lower part of the leaderboard: head-to-head win rates, and agreement between raters and metrics.

use crate::format::{count, percent};
use domain::api::{Agreement, MetricAgreement};
use leptos::prelude::*;

/// Both sections; nothing until two models have votes.
pub(crate) fn agreement(agreement: Agreement) -> impl IntoView {
    if agreement.models.len() < 2 {
        return ().into_any();
    }
    view! {
        {head_to_head(&agreement)}
        {raters_and_metrics(agreement)}
    }
    .into_any()
}

/// Win rate of every model against every other model.
fn head_to_head(agreement: &Agreement) -> impl IntoView + use<> {
    let Agreement { models, win_rates, elo, .. } = agreement;
    let head = models.iter().map(|model| view! { <th class="figure">{model.clone()}</th> }).collect_view();
    let rows = models.iter().zip(win_rates).zip(elo).map(|((model, rates), elo)| {
        let cells = models.iter().zip(rates).map(|(other, rate)| {
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
    view! {
        <section aria-labelledby="head-to-head">
            <h2 id="head-to-head">"Head-to-head win rates"</h2>
            <p class="soft">"Win rate of the model in the row against the model in the column."</p>
            <div class="scrolls" tabindex="0">
                <table class="matrix">
                    <thead><tr><th>"Model"</th>{head}<th class="figure">"Elo"</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
}

fn raters_and_metrics(agreement: Agreement) -> impl IntoView {
    let pairs = count(agreement.judged_by_several, "image pair", "image pairs");
    let raters = match (agreement.judged_by_several, agreement.alpha) {
        (0, _) => "No image pair has been judged by two raters yet, so alpha is unknown.".to_owned(),
        (_, None) => format!("All raters gave the same answer on {pairs}, so alpha is undefined."),
        (_, Some(alpha)) => format!("Alpha is {alpha:.2} on {pairs} judged by several raters."),
    };
    let metrics = agreement.metrics.into_iter().map(metric).collect_view();
    view! {
        <section aria-labelledby="agreement">
            <h2 id="agreement">"Agreement"</h2>
            <p>{raters}</p>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Metric"</th>
                        <th class="figure">"Agreement with votes"</th>
                        <th class="figure">"Newest against earlier"</th>
                        <th class="figure">"Rank correlation"</th>
                    </tr>
                </thead>
                <tbody>{metrics}</tbody>
            </table>
        </section>
    }
}

fn metric(agreement: MetricAgreement) -> impl IntoView {
    let cell = |value: Option<String>, sample: String| {
        view! { {value.unwrap_or_else(|| "–".to_owned())} <small class="soft">" of "{sample}</small> }
    };
    let votes = count(agreement.votes, "vote", "votes");
    let models = count(agreement.models, "model", "models");
    let drift = agreement.drift.as_ref().map_or_else(
        || "–".to_owned(),
        |drift| format!("{} and {}", percent(drift.newest_accuracy), percent(drift.earlier_accuracy)),
    );
    view! {
        <tr>
            <td class="lead">{agreement.metric.label()}</td>
            <td data-label="Agreement with votes" class="figure">{cell(agreement.accuracy.map(percent), votes)}</td>
            <td data-label="Newest against earlier" class="figure">{drift}</td>
            <td data-label="Rank correlation" class="figure">
                {cell(agreement.rank_correlation.map(|rho| format!("{rho:.2}")), models)}
            </td>
        </tr>
    }
}
