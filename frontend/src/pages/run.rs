//! One training run.

use crate::api::{self, ApiResult};
use crate::chart_view::{View, default_smoothing};
use crate::components::badge::ObjectiveBadge;
use crate::components::run_charts::{ChartRun, ChartsSnapshot, fetch};
use crate::components::run_live::{FIGURES, RunLive, RunSnapshot, figures};
use crate::components::run_row::tag;
use crate::components::run_samples::OtherSamples;
use crate::curve::{Extent, curves};
use crate::format::moment;
use crate::pages::layout::{Head, loaded};
use crate::pages::live_stream::live_stream;
use crate::pages::run_address::run_id;
use crate::pages::run_facts::{execution_section, lineage_section, scores_section, spec_section};
use crate::pages::run_manage::manage_section;
use crate::pages::run_records::{Records, load_records, records_page, records_sections};
use crate::pages::run_verdict::verdict;
use crate::run_colour::colour;
use domain::api::{Page, RunDetail, RunLineage, RunSample, RunSeries, path, run_page};
use domain::run::Run;
use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};
use leptos_router::params::ParamsMap;

#[component]
pub(crate) fn RunPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    let query = use_query_map().get_untracked();
    loaded(load(id, query), page)
}

struct Loaded {
    /// Where the events after this page begin.
    cursor: String,
    detail: RunDetail,
    /// The curves in the view's range.
    shown: RunSeries,
    /// The curves of the whole run, at least those that figures and verdict are made of.
    whole: RunSeries,
    samples: Page<RunSample>,
    lineage: RunLineage,
    records: Records,
    against: Option<(Run, Vec<RunSample>)>,
    view: View,
}

async fn load(id: String, query: ParamsMap) -> ApiResult<Loaded> {
    let id = run_id(&id)?;
    let cursor = api::event_cursor().await?;
    let detail = api::run(id).await?;
    let view = View::read(|name| query.get(name), default_smoothing(detail.run.spec.steps.into()));
    let images = f64::from(detail.run.spec.images_per_step());
    let shown = fetch(id, images, "", &view, None).await?;
    let whole = match view.range {
        None => shown.clone(),
        Some(_) => {
            let names = FIGURES.map(|(name, _)| name).join(",");
            fetch(id, images, &names, &View { range: None, ..view.clone() }, None).await?
        }
    };
    let against = match query.get("against").filter(|id| !id.is_empty()) {
        Some(other) => {
            let other = api::run(run_id(&other)?).await?.run;
            let samples = api::run_samples(other.id).await?.items;
            Some((other, samples))
        }
        None => None,
    };
    let samples = api::run_samples(id).await?;
    let lineage = api::run_lineage(id).await?;
    let records = load_records(id).await?;
    Ok(Loaded { cursor, detail, shown, whole, samples, lineage, records, against, view })
}

/// A run as charts need it.
pub(crate) fn chart_run(run: &Run, shown: &RunSeries) -> ChartRun {
    ChartRun {
        id: run.id,
        name: run.name.clone(),
        colour: colour(run.id),
        steps: run.spec.steps.into(),
        images_per_step: run.spec.images_per_step().into(),
        extent: Extent::from(shown),
    }
}

fn page(loaded: Loaded) -> impl IntoView {
    let Loaded { cursor, detail, shown, whole, samples, lineage, records, against, view } = loaded;
    let run = &detail.run;
    let other = against.as_ref();
    let charts = ChartsSnapshot {
        runs: vec![chart_run(run, &shown)],
        curves: curves(0, &shown),
        view,
        metrics: String::new(),
        path: run_page(run.id),
        fixed: other.map(|(other, _)| ("against".to_owned(), other.id.to_string())).into_iter().collect(),
    };
    let snapshot = RunSnapshot {
        id: run.id,
        job: run.job_id,
        state: run.state,
        cancel_requested: detail.job.cancel_requested,
        error: run.error.clone(),
        step: whole.step,
        steps: run.spec.steps.into(),
        images_per_step: run.spec.images_per_step().into(),
        charts,
        figures: figures(&whole),
        samples: samples.items,
        other: other
            .map(|(other, samples)| OtherSamples { name: other.name.clone(), samples: samples.clone() }),
        verdict: verdict(run, &detail.job, &whole, &lineage.scores),
    };
    let stream = (!run.state.is_final())
        .then(|| live_stream(format!("{}?run={}", path::EVENTS, run.id), cursor, Some(records_page(run.id))));
    let (objective, base) = (run.spec.objective.kind(), run.spec.base.clone());
    let (tags, notes) = (run.tags.iter().map(|name| tag(name)).collect::<Vec<_>>(), run.notes.clone());
    let (swatch, submitted) = (format!("swatch run-{}", colour(run.id)), run.created_at);
    view! {
        <Head title=run.name.clone()>
            <p class="lead">
                <span class=swatch aria-hidden="true"></span>
                <ObjectiveBadge kind=objective />
                " base model " <a href=format!("/models#{base}")>{base.clone()}</a>
                " · submitted " <time datetime=submitted.to_rfc3339()>{moment(submitted)}</time>
            </p>
            {(!tags.is_empty()).then(|| view! { <p class="actions">{tags}</p> })}
            {(!notes.is_empty()).then(|| view! { <p class="notes">{notes}</p> })}
        </Head>
        {stream}
        <RunLive run=snapshot />
        {scores_section(&lineage.scores)}
        {lineage_section(&detail, &lineage)}
        {execution_section(&detail)}
        {records_sections(run, records)}
        {spec_section(run, other.map(|(other, _)| other))}
        {manage_section(&detail)}
    }
}
