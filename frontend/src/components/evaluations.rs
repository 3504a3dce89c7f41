//! Finished evaluations with links to their reports.

use crate::format::moment;
use domain::api::report_url;
use domain::evaluate::{EvaluateSpec, ReportFile};
use domain::id::JobId;
use domain::job::{Job, JobSpec, JobState};
use leptos::prelude::*;

/// The jobs of a list that have a report: succeeded evaluations.
pub(crate) fn with_report(jobs: &[Job]) -> Vec<Job> {
    let has_report =
        |job: &&Job| job.state == JobState::Succeeded && matches!(job.spec, JobSpec::Evaluate(_));
    jobs.iter().filter(has_report).cloned().collect()
}

/// The table of evaluations; nothing if there are none.
pub(crate) fn evaluations(jobs: &[Job]) -> impl IntoView + use<> {
    let rows: Vec<_> = jobs.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| {
        view! {
            <section aria-labelledby="evaluations">
                <h2 id="evaluations">"Evaluations"</h2>
                <table class="cards-on-phone">
                    <thead>
                        <tr>
                            <th>"Models"</th>
                            <th>"Report"</th>
                            <th class="figure">"Images"</th>
                            <th class="figure">"Finished"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </section>
        }
    })
}

fn row(job: &Job) -> Option<impl IntoView + use<>> {
    let JobSpec::Evaluate(spec) = &job.spec else { return None };
    Some(view! {
        <tr data-key=job.id.to_string()>
            <td class="lead"><a href=format!("/evaluations/{}", job.id)>{evaluated_models(spec)}</a></td>
            <td data-label="Report">
                <span>
                    <ReportLink job=job.id file=ReportFile::Page text="HTML" /> " · "
                    <ReportLink job=job.id file=ReportFile::Figures text="JSON" /> " · "
                    <ReportLink job=job.id file=ReportFile::Scores text="CSV" />
                </span>
            </td>
            <td data-label="Images" class="figure">{job.total}</td>
            <td data-label="Finished" class="figure soft">{job.finished_at.map(moment)}</td>
        </tr>
    })
}

/// The models in the order of the spec. With several models, the baseline has a badge.
pub(crate) fn evaluated_models(spec: &EvaluateSpec) -> impl IntoView + use<> {
    let all = spec.all_models();
    let several = all.len() > 1;
    let name = |name: &str| {
        let baseline =
            (several && name == spec.baseline()).then(|| view! { " " <span class="badge">"baseline"</span> });
        view! { <div>{name.to_owned()}{baseline}</div> }
    };
    all.into_iter().map(name).collect_view()
}

/// A link to one file of a report.
#[component]
pub(crate) fn ReportLink(job: JobId, file: ReportFile, #[prop(into)] text: String) -> impl IntoView {
    view! { <a href=report_url(job, file)>{text}</a> }
}
