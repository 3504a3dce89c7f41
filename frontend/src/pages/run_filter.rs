//! The form that filters and sorts the list of runs. It leads to an address, so it works without JavaScript.

use crate::components::run_row::column_title;
use crate::format::{objective, query};
use domain::api::{RunChoices, RunColumn, RunSort, RunValue};
use domain::job::JobState;
use domain::run::metric;
use domain::train::Objective;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;

/// The fields of the form, in the order in which an address has them.
const FIELDS: [&str; 9] =
    ["search", "state", "objective", "base", "tag", "study", "archived", "sort", "limit"];

/// Whether an address filters the list.
pub(crate) fn is_filtered(fields: &ParamsMap) -> bool {
    FIELDS[..7].iter().any(|name| fields.get(name).is_some_and(|value| !value.is_empty()))
}

/// The columns that the form offers: the last value of each of these curves, and its best one.
const OFFERED: [(&str, RunValue); 10] = [
    (metric::LOSS, RunValue::Lowest),
    (metric::VALIDATION_LOSS, RunValue::Lowest),
    (metric::VALIDATION_ACCURACY, RunValue::Highest),
    (metric::REWARDS_ACCURACIES, RunValue::Highest),
    (metric::REWARDS_ACCURACIES_WEIGHTED, RunValue::Highest),
    (metric::REWARDS_MARGINS, RunValue::Highest),
    (metric::MSE_WINNER, RunValue::Lowest),
    (metric::MSE_LOSER, RunValue::Lowest),
    (metric::GRAD_NORM, RunValue::Highest),
    (metric::SAMPLES_PER_SECOND, RunValue::Highest),
];

/// The texts of the columns that an address names: one field `column` each, or all in one field.
fn named_columns(fields: &ParamsMap) -> Vec<String> {
    let texts = fields.get_all("column").unwrap_or_default();
    texts.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// The columns that an address names. What is no column is left out: the request for the runs refuses it.
pub(crate) fn chosen_columns(fields: &ParamsMap) -> Vec<RunColumn> {
    named_columns(fields).iter().filter_map(|text| text.parse().ok()).collect()
}

/// The query of the request for the runs of an address: all of its fields, so that the API refuses what it does not know.
pub(crate) fn request_query(fields: &ParamsMap, limit: u32) -> String {
    let mut parts: Vec<String> = (*fields)
        .clone()
        .into_iter()
        .filter(|(name, _)| name != "column")
        .map(|(name, value)| format!("{}={}", query(&name), query(&value)))
        .collect();
    let columns = named_columns(fields);
    if !columns.is_empty() {
        parts.push(format!("columns={}", query(&columns.join(","))));
    }
    if fields.get("limit").is_none() {
        parts.push(format!("limit={limit}"));
    }
    parts.join("&")
}

/// The address of a page of the list with these fields; the first page without a cursor.
pub(crate) fn page_address(fields: &ParamsMap, cursor: Option<&str>) -> String {
    let mut parts: Vec<String> = FIELDS
        .iter()
        .filter_map(|name| Some((name, fields.get(name).filter(|value| !value.is_empty())?)))
        .map(|(name, value)| format!("{name}={}", query(&value)))
        .collect();
    parts.extend(named_columns(fields).iter().map(|column| format!("column={}", query(column))));
    parts.extend(cursor.map(|cursor| format!("cursor={}", query(cursor))));
    if parts.is_empty() { "/runs".to_owned() } else { format!("/runs?{}", parts.join("&")) }
}

/// A choice of one value, or of any.
fn choice(
    fields: &ParamsMap,
    name: &'static str,
    label: &'static str,
    values: Vec<(String, String)>,
) -> impl IntoView + use<> {
    let chosen = fields.get(name).unwrap_or_default();
    let options = values
        .into_iter()
        .map(|(value, text)| {
            let selected = value == chosen;
            view! { <option value=value selected=selected>{text}</option> }
        })
        .collect_view();
    view! {
        <label>
            <span>{label}</span>
            <select name=name><option value="">"any"</option>{options}</select>
        </label>
    }
}

/// The choice of columns, as a part of the form.
fn column_choice(fields: &ParamsMap) -> impl IntoView + use<> {
    let chosen = chosen_columns(fields);
    let offered = OFFERED.iter().flat_map(|(name, best)| {
        [RunValue::Last, *best].map(|value| RunColumn { metric: (*name).to_owned(), value })
    });
    // Columns that an address names beside those stay when the form is sent.
    let mut columns: Vec<RunColumn> = offered.collect();
    columns.extend(chosen.iter().filter(|column| !columns.contains(column)).cloned().collect::<Vec<_>>());
    let boxes: Vec<_> = columns
        .into_iter()
        .map(|column| {
            let (value, checked) = (column.to_string(), chosen.contains(&column));
            view! {
                <label class="check">
                    <input type="checkbox" name="column" value=value checked=checked />
                    {column_title(&column)}
                </label>
            }
        })
        .collect();
    view! {
        <details class="columns" open=!chosen.is_empty()>
            <summary>"Columns"</summary>
            <p class="soft">"Chosen columns take the place of loss, accuracy and validation; at most 12."</p>
            <div class="column-boxes">{boxes}</div>
        </details>
    }
}

/// The form with the fields of the address.
pub(crate) fn filter_form(fields: &ParamsMap, choices: RunChoices) -> impl IntoView + use<> {
    let same = |value: &str| (value.to_owned(), value.to_owned());
    let states = JobState::ALL.iter().map(|state| same(state.as_str())).collect();
    let objectives =
        Objective::KINDS.iter().map(|kind| ((*kind).to_owned(), objective(kind).to_owned())).collect();
    let bases = choices.bases.iter().map(|base| same(base)).collect();
    let tags = choices.tags.iter().map(|tag| same(tag)).collect();
    let studies: Vec<_> = choices.studies.into_iter().map(|(id, name)| (id.to_string(), name)).collect();
    let has_studies = !studies.is_empty();
    let sort = fields.get("sort").unwrap_or_default();
    let orders = RunSort::ALL
        .into_iter()
        .map(|order| {
            let text = match order {
                RunSort::Newest => "newest",
                RunSort::Name => "name",
                RunSort::Duration => "longest",
            };
            let selected = order.as_str() == sort;
            view! { <option value=order.as_str() selected=selected>{text}</option> }
        })
        .collect_view();
    let archived = fields.get("archived").is_some_and(|value| value == "true");
    let reset = is_filtered(fields).then(|| view! { <a class="button quiet" href="/runs">"Reset"</a> });
    view! {
        <form class="filter runs-filter" method="get" action="/runs" role="search" aria-label="Runs">
            <label>
                <span>"Name"</span>
                <input type="search" name="search" autocomplete="off" value=fields.get("search").unwrap_or_default() />
            </label>
            {choice(fields, "state", "Status", states)}
            {choice(fields, "objective", "Objective", objectives)}
            {choice(fields, "base", "Base", bases)}
            {choice(fields, "tag", "Tag", tags)}
            {has_studies.then(|| choice(fields, "study", "Study", studies))}
            <label><span>"Order"</span><select name="sort">{orders}</select></label>
            <label class="check"><input type="checkbox" name="archived" value="true" checked=archived />"Archived"</label>
            <button class="quiet">"Show"</button>
            {reset}
            {column_choice(fields)}
        </form>
    }
}
