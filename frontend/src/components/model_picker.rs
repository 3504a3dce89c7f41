//! Checkboxes that select the models to generate with.

use crate::components::badge::ObjectiveBadge;
use crate::components::hydration::is_checked;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A model that can be selected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelOption {
    pub(crate) name: String,
    pub(crate) objective: Option<String>,
    /// Why the model cannot generate; its checkbox is then disabled.
    pub(crate) problem: Option<String>,
    /// Whether the server renders the checkbox as checked.
    pub(crate) selected: bool,
}

/// The models whose checkboxes are checked when the page is hydrated.
pub(crate) fn initially_selected(options: &[ModelOption]) -> Vec<String> {
    let selected =
        |option: &&ModelOption| is_checked(&option.name, option.selected && option.problem.is_none());
    options.iter().filter(selected).map(|option| option.name.clone()).collect()
}

/// One checkbox per model. `selected` holds the names of the checked ones, in the order of their selection.
#[component]
pub(crate) fn ModelPicker(options: Vec<ModelOption>, selected: RwSignal<Vec<String>>) -> impl IntoView {
    let boxes = options.into_iter().map(|option| checkbox(option, selected)).collect_view();
    view! { <div class="chips">{boxes}</div> }
}

fn checkbox(option: ModelOption, selected: RwSignal<Vec<String>>) -> impl IntoView {
    let ModelOption { name, objective, problem, selected: initially } = option;
    let (value, data_box) = (name.clone(), name.clone());
    let toggle = move |event| {
        let checked = event_target_checked(&event);
        selected.update(|selected| {
            selected.retain(|other| *other != value);
            if checked {
                selected.push(value.clone());
            }
        });
    };
    let unusable = problem.is_some();
    view! {
        <label class="chip" title=problem>
            <input type="checkbox" data-box=data_box checked=initially && !unusable disabled=unusable on:change=toggle />
            <span>{name}</span>
            {objective.map(|kind| view! { <ObjectiveBadge kind /> })}
        </label>
    }
}
