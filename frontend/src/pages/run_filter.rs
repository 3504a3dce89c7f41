//! The form that filters and sorts the list of runs. It leads to an address, so it works without JavaScript.

use crate::format::{objective, query};
use domain::api::{RunChoices, RunSort};
use domain::job::JobState;
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

/// The address of a page of the list with these fields; the first page without a cursor.
pub(crate) fn page_address(fields: &ParamsMap, cursor: Option<&str>) -> String {
    let mut parts: Vec<String> = FIELDS
        .iter()
        .filter_map(|name| Some((name, fields.get(name).filter(|value| !value.is_empty())?)))
        .map(|(name, value)| format!("{name}={}", query(&value)))
        .collect();
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
        </form>
    }
}
