//! One study.

use crate::api::{self, ApiResult, Failure};
use crate::format::{left, moment};
use crate::pages::layout::{Head, loaded};
use crate::pages::studies::StudyBadge;
use domain::api::path;
use domain::evaluate::ReportFile;
use domain::id::StudyId;
use domain::study::{Study, StudyCell, StudyState, StudySummary};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

#[component]
pub(crate) fn StudyPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    loaded(load(id), page)
}

async fn load(id: String) -> ApiResult<StudySummary> {
    let id: StudyId = id.parse().map_err(|_| {
        Failure::not_found(format!("{id:?} is not the id of a study. Open the study from the Studies page."))
    })?;
    api::study(id).await
}

fn page(summary: StudySummary) -> impl IntoView {
    let StudySummary { study, cells, done, estimate } = summary;
    let remaining = (study.state == StudyState::Running).then_some(estimate).flatten();
    let remaining = remaining.map(|seconds| format!(" · about {} of computation left", left(seconds)));
    let base = study.spec.base.clone();
    let total = cells.len();
    view! {
        <Head title=study.spec.name.clone()>
            <p class="lead">
                <StudyBadge state=study.state />
                " base model " <a href=format!("/models#{base}")>{base.clone()}</a>
                " · submitted " <time datetime=study.created_at.to_rfc3339()>{moment(study.created_at)}</time>
                {format!(" · {done} of {total} jobs done")} {remaining}
            </p>
        </Head>
        <p><a href=format!("/runs/compare?study={}", study.id)>"Compare its runs"</a>": curves, settings, and the sweep of each setting."</p>
        {(study.state == StudyState::Finished).then(|| reports(&study))}
        {cell_table(cells)}
        {spec_section(&study)}
    }
}

fn reports(study: &Study) -> impl IntoView + use<> {
    let links = ReportFile::ALL
        .into_iter()
        .map(|file| {
            let address =
                path::STUDY_REPORT.replace("{id}", &study.id.to_string()).replace("{file}", file.name());
            view! { <li><a rel="external" href=address>{file.name()}</a></li> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="report">
            <h2 id="report">"Report"</h2>
            <ul class="plain">{links}</ul>
        </section>
    }
}

fn cell_table(cells: Vec<StudyCell>) -> impl IntoView {
    let rows = cells.into_iter().map(cell_row).collect_view();
    view! {
        <section aria-labelledby="jobs">
            <h2 id="jobs">"Jobs"</h2>
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Job"</th>
                        <th>"Kind"</th>
                        <th>"Status"</th>
                        <th class="figure">"Progress"</th>
                        <th class="figure">"Seconds"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
    }
}

fn cell_row(cell: StudyCell) -> impl IntoView {
    let progress =
        if cell.total > 0 { format!("{} of {}", cell.progress, cell.total) } else { "–".to_owned() };
    let seconds = cell.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.0}"));
    view! {
        <tr>
            <td class="lead">
                {cell.key}
                {cell.error.map(|error| view! { <br /><small class="soft">{error}</small> })}
            </td>
            <td data-label="Kind">{cell.kind.label()}</td>
            <td data-label="Status"><span class=format!("badge state-{}", cell.state)>{cell.state.clone()}</span></td>
            <td data-label="Progress" class="figure">{progress}</td>
            <td data-label="Seconds" class="figure">{seconds}</td>
        </tr>
    }
}

fn spec_section(study: &Study) -> impl IntoView + use<> {
    let json = serde_json::to_string_pretty(&study.spec).unwrap_or_default();
    view! {
        <section aria-labelledby="spec">
            <h2 id="spec">"Spec"</h2>
            <details class="more"><summary>"Show JSON"</summary><pre>{json}</pre></details>
        </section>
    }
}
