//! The list of studies.

use crate::api;
use crate::components::copy_line::CopyLine;
use crate::components::note::Empty;
use crate::format::{left, moment};
use crate::pages::layout::{Head, loaded, origin};
use domain::api::Page;
use domain::study::{StudyOverview, StudyState};
use leptos::prelude::*;

#[component]
pub(crate) fn Studies() -> impl IntoView {
    view! {
        <Head title="Studies" lead="Methods compared at equal budgets, over several seeds. Open a study for its jobs and report." />
        {loaded(api::studies(), studies)}
    }
}

fn studies(studies: Page<StudyOverview>) -> impl IntoView {
    if studies.items.is_empty() {
        let submit =
            format!("curl {}/api/v1/studies -H 'Content-Type: application/json' -d @study.json", origin());
        return view! {
            <Empty title="No studies yet">
                <p>"Submit a study with this command; " <a href="/docs">"the HTTP API"</a> " shows a body to start from."</p>
                <CopyLine text=submit />
            </Empty>
        }
        .into_any();
    }
    let rows = studies.items.into_iter().map(row).collect_view();
    view! {
        <table class="cards-on-phone">
            <thead>
                <tr>
                    <th>"Study"</th>
                    <th>"Status"</th>
                    <th class="figure">"Jobs done"</th>
                    <th class="figure">"Failed"</th>
                    <th class="figure">"Time left"</th>
                    <th class="figure">"Submitted"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

fn row(overview: StudyOverview) -> impl IntoView {
    let StudyOverview { study, cells, done, failed, estimate } = overview;
    let remaining = (study.state == StudyState::Running).then_some(estimate).flatten();
    view! {
        <tr>
            <td class="lead"><a href=format!("/studies/{}", study.id)>{study.spec.name.clone()}</a></td>
            <td data-label="Status"><StudyBadge state=study.state /></td>
            <td data-label="Jobs done" class="figure">{format!("{done} of {cells}")}</td>
            <td data-label="Failed" class="figure">{failed}</td>
            <td data-label="Time left" class="figure">{remaining.map_or_else(|| "–".to_owned(), left)}</td>
            <td data-label="Submitted" class="figure soft">
                <time datetime=study.created_at.to_rfc3339()>{moment(study.created_at)}</time>
            </td>
        </tr>
    }
}

/// The state of a study, in the colours of a job's.
#[component]
pub(crate) fn StudyBadge(state: StudyState) -> impl IntoView {
    let colour = match state {
        StudyState::Running => "running",
        StudyState::Finished => "succeeded",
        StudyState::Cancelled => "cancelled",
    };
    view! { <span class=format!("badge state-{colour}")>{state.as_str()}</span> }
}
