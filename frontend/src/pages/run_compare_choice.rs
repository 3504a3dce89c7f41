//! Forms that choose what is compared. Each leads to an address, so they work without JavaScript.

use crate::meaning::{GROUPS, of, title};
use crate::pages::run_compared::hidden_fields;
use crate::run_colour::colour;
use domain::api::RunSummary;
use leptos::prelude::*;
use std::collections::HashSet;

/// A form with a box for each of the newest runs. Chosen runs that are older stay chosen.
pub(crate) fn run_choice(
    choices: &[RunSummary],
    chosen: &[String],
    fixed: &[(String, String)],
    open: bool,
) -> impl IntoView + use<> {
    let chosen_set: HashSet<&str> = chosen.iter().map(String::as_str).collect();
    let listed: HashSet<String> = choices.iter().map(|summary| summary.run.id.to_string()).collect();
    let older = chosen
        .iter()
        .filter(|id| !listed.contains(*id))
        .map(|id| view! { <input type="hidden" name="run" value=id.clone() /> })
        .collect_view();
    let boxes = choices
        .iter()
        .map(|summary| {
            let run = &summary.run;
            let id = run.id.to_string();
            let checked = chosen_set.contains(id.as_str());
            view! {
                <label class="chip">
                    <input type="checkbox" name="run" value=id checked=checked />
                    <span class=format!("swatch run-{}", colour(run.id)) aria-hidden="true"></span>
                    <span>{run.name.clone()}</span>
                    <span class="badge">{run.state.to_string()}</span>
                </label>
            }
        })
        .collect_view();
    view! {
        <details class="more choice" open=open>
            <summary>"Choose runs"</summary>
            <form method="get" action="/runs/compare" class="choice-form">
                {older}
                {hidden_fields(fixed, &["run", "study"])}
                <div class="choice-grid">{boxes}</div>
                <button class="primary">"Compare"</button>
            </form>
        </details>
    }
}

/// A form with a box for each metric.
pub(crate) fn metric_choice(metrics: &[String], fixed: &[(String, String)]) -> impl IntoView + use<> {
    let boxes = offered(metrics)
        .into_iter()
        .map(|(name, title)| {
            let checked = metrics.contains(&name);
            view! { <label class="check"><input type="checkbox" name="metric" value=name checked=checked />{title}</label> }
        })
        .collect_view();
    view! {
        <details class="more choice">
            <summary>"Choose metrics"</summary>
            <form method="get" action="/runs/compare" class="choice-form">
                {hidden_fields(fixed, &["metric"])}
                <div class="choice-grid">{boxes}</div>
                <button class="quiet">"Show"</button>
            </form>
        </details>
    }
}

/// The names of metrics that pages offer, with their titles.
fn offered(chosen: &[String]) -> Vec<(String, String)> {
    let known = GROUPS.iter().flat_map(|group| group.metrics).map(|(name, _)| (*name).to_owned());
    let mut names: Vec<String> = known.collect();
    names.extend(chosen.iter().filter(|name| of(name).is_none()).cloned());
    names.into_iter().map(|name| (name.clone(), title(&name))).collect()
}
