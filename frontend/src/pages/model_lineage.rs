//! The tree that a model is part of: what it was trained from, and what is trained from it.

use crate::components::badge::ObjectiveBadge;
use domain::api::{ModelDetail, ModelLink, model_page};
use domain::id::ModelId;
use leptos::prelude::*;

#[component]
pub(crate) fn Lineage(detail: ModelDetail) -> impl IntoView {
    let ModelDetail { summary, ancestors, derived, checkpoints, .. } = detail;
    let id = summary.model.id;
    let is_alone = ancestors.is_empty() && derived.is_empty() && checkpoints.len() < 2;
    (!is_alone).then(|| {
        // The other models of its run are its siblings in the tree.
        let own = if checkpoints.is_empty() {
            let model = summary.model;
            vec![ModelLink { id, name: model.name, objective: model.objective, step: model.step }]
        } else {
            checkpoints
        };
        let derived = (!derived.is_empty()).then(|| {
            let items = derived.iter().map(|link| view! { <li>{entry(link, id)}</li> }).collect_view();
            view! { <ul>{items}</ul> }.into_any()
        });
        let mut derived = derived;
        let own = own
            .iter()
            .map(|link| {
                let below = if link.id == id { derived.take() } else { None };
                view! { <li>{entry(link, id)}{below}</li> }
            })
            .collect_view();
        let mut tree = view! { <ul>{own}</ul> }.into_any();
        for ancestor in &ancestors {
            tree = view! { <ul><li>{entry(ancestor, id)}{tree}</li></ul> }.into_any();
        }
        view! {
            <section aria-labelledby="lineage">
                <h2 id="lineage">"Lineage"</h2>
                <div class="tree">{tree}</div>
            </section>
        }
    })
}

fn entry(link: &ModelLink, current: ModelId) -> impl IntoView + use<> {
    let is_current = link.id == current;
    let step = link.step.map(|step| view! { " " <span class="soft">{format!("step {step}")}</span> });
    let kind = link.objective.clone().map(|kind| view! { " " <ObjectiveBadge kind /> });
    view! {
        <a href=model_page(link.id) aria-current=is_current.then_some("page")>{link.name.clone()}</a>{step}{kind}
    }
}
