//! One evaluation: what was compared, scores, win rates with intervals, agreement of the metrics, images.

use crate::api::{self, ApiResult, Failure};
use crate::components::badge::StateBadge;
use crate::components::evaluations::ReportLink;
use crate::components::progress::Progress;
use crate::format::{metric_value, moment, number, percent};
use crate::pages::evaluation_images::images;
use crate::pages::evaluations::prompts;
use crate::pages::layout::{Head, loaded};
use domain::api::{EvaluatedModel, EvaluationDetail, WinRate, model_page};
use domain::evaluate::{
    EvaluateSpec, EvaluationReport, Metric, MetricComparison, MetricsAgreement, ReportFile, ScoredModel,
};
use domain::id::JobId;
use domain::job::{Job, JobSpec};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

#[component]
pub(crate) fn EvaluationPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    loaded(load(id), page)
}

async fn load(id: String) -> ApiResult<EvaluationDetail> {
    let id: JobId = id.parse().map_err(|_| {
        Failure::not_found(format!(
            "{id:?} is not the id of an evaluation. Open it from the Evaluations page."
        ))
    })?;
    api::evaluation(id).await
}

fn page(detail: EvaluationDetail) -> impl IntoView {
    let EvaluationDetail { job, report, models } = detail;
    let spec = match &job.spec {
        JobSpec::Evaluate(spec) => Some(spec.clone()),
        JobSpec::Train(_) => None,
    };
    let title = spec.as_ref().map_or_else(String::new, |spec| spec.all_models().join(", "));
    let shown = report.as_ref().map(|report| figures(report, &models));
    view! {
        <Head title=format!("Evaluation of {title}")>
            <p class="lead">
                <StateBadge state=job.state />
                " submitted " <time datetime=job.created_at.to_rfc3339()>{moment(job.created_at)}</time>
                {spec.as_ref().map(settings)}
            </p>
        </Head>
        {state(&job)}
        {shown}
    }
}

/// The settings in a line.
fn settings(spec: &EvaluateSpec) -> String {
    let mut parts = vec![format!("prompts: {}", prompts(spec)), format!("seed {}", spec.seed)];
    parts.extend(spec.steps.map(|steps| format!("{steps} denoising steps")));
    parts.extend(spec.guidance_scale.map(|scale| format!("guidance {}", number(scale))));
    parts.extend(spec.sampler.map(|sampler| sampler.as_str().to_owned()));
    if spec.images_per_prompt > 1 {
        parts.push(format!("{} images of each prompt", spec.images_per_prompt));
    }
    format!(" · {}", parts.join(" · "))
}

/// Progress, or the error, or the files of the report.
fn state(job: &Job) -> impl IntoView + use<> {
    if let Some(error) = job.error.clone() {
        return view! { <p class="note bad">{error}</p> }.into_any();
    }
    if !job.state.is_final() {
        let progress = (job.total > 0).then(|| view! { <Progress step=job.progress steps=job.total /> });
        return view! { <p>"The figures follow when the evaluation has ended. " {progress}</p> }.into_any();
    }
    view! {
        <p>
            "As one file: " <ReportLink job=job.id file=ReportFile::Page text="HTML with its images" />
            " · " <ReportLink job=job.id file=ReportFile::Figures text="figures as JSON" />
            " · " <ReportLink job=job.id file=ReportFile::Scores text="every score as CSV" />
        </p>
    }
    .into_any()
}

fn figures(report: &EvaluationReport, models: &[EvaluatedModel]) -> impl IntoView + use<> {
    let cut = report.cut.as_ref().map(|cut| view! { <p class="note bad">{format!("Prompts: {cut}.")}</p> });
    view! {
        {cut}
        {averages(report, models)}
        {against(report)}
        {by_category(&report.comparisons)}
        {images(report, models)}
        {agreements(&report.agreements)}
        {explanations(report)}
    }
}

/// A row per model, a column per metric.
fn averages(report: &EvaluationReport, models: &[EvaluatedModel]) -> impl IntoView + use<> {
    let metrics: Vec<Metric> = report.statements.keys().copied().collect();
    let has_distance = report.models.iter().any(|scored| scored.fid.is_some());
    let distance = report.models.iter().find_map(|scored| scored.fid.as_ref()).map(|fid| fid.metric.clone());
    let heads =
        metrics.iter().map(|metric| view! { <th class="figure">{metric.label()}</th> }).collect_view();
    let row = |scored: &ScoredModel| {
        let known = models.iter().find(|model| model.name == scored.model);
        let name = match known {
            Some(model) => view! { <a href=model_page(model.id)>{scored.model.clone()}</a> }.into_any(),
            None => scored.model.clone().into_any(),
        };
        let baseline =
            (scored.model == report.baseline).then(|| view! { " " <span class="badge">"baseline"</span> });
        let changed = known
            .filter(|model| !model.is_unchanged)
            .map(|_| view! { " " <span class="badge state-failed">"other weights since"</span> });
        let cells = metrics
            .iter()
            .map(|&metric| {
                let found = scored.metrics.iter().find(|of| of.metric == metric);
                let text = found.map_or_else(|| "–".to_owned(), |of| metric_value(metric, of.mean));
                view! { <td class="figure" data-label=metric.label()>{text}</td> }
            })
            .collect_view();
        let distance = has_distance.then(|| {
            let text = scored.fid.as_ref().map_or_else(|| "–".to_owned(), |fid| number(fid.frechet));
            view! { <td class="figure" data-label="Distance">{text}</td> }
        });
        let hash: String = scored.sha256.chars().take(12).collect();
        view! {
            <tr>
                <td class="lead">{name}{baseline}{changed}</td>
                {cells}
                {distance}
                <td data-label="Weights" class="figure soft"><code>{hash}</code></td>
            </tr>
        }
    };
    let rows = report.models.iter().map(row).collect_view();
    view! {
        <section aria-labelledby="averages">
            <h2 id="averages">{format!("Mean scores of {} images each", report.prompts)}</h2>
            <div class="scrolls">
                <table class="cards-on-phone">
                    <thead>
                        <tr>
                            <th>"Model"</th>
                            {heads}
                            {distance.map(|name| view! { <th class="figure">{name}</th> })}
                            <th class="figure">"Weights (SHA-256)"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
}

fn rate(rate: WinRate) -> String {
    format!("{} [{}, {}]", percent(rate.value), percent(rate.low), percent(rate.high))
}

/// Green or red if the interval is apart from one half.
fn verdict(rate: WinRate) -> &'static str {
    if rate.low > 0.5 {
        "figure good"
    } else if rate.high < 0.5 {
        "figure bad"
    } else {
        "figure"
    }
}

fn against(report: &EvaluationReport) -> Option<impl IntoView + use<>> {
    let row = |of: &MetricComparison| {
        let [mean, low, high] = of.difference.map(|value| metric_value(of.metric, value));
        let wins = &of.overall;
        view! {
            <tr>
                <td class="lead">{of.model.clone()}</td>
                <td data-label="Metric">{of.metric.label()}</td>
                <td data-label="Win rate" class=verdict(wins.win_rate)>{rate(wins.win_rate)}</td>
                <td data-label="Wins, ties, losses" class="figure">
                    {format!("{}, {}, {}", wins.wins, wins.ties, wins.losses)}
                </td>
                <td data-label="Difference" class="figure">{format!("{mean} [{low}, {high}]")}</td>
            </tr>
        }
    };
    (!report.comparisons.is_empty()).then(|| {
        let rows = report.comparisons.iter().map(row).collect_view();
        view! {
            <section aria-labelledby="against">
                <h2 id="against">{format!("Against {}", report.baseline)}</h2>
                <p class="soft">
                    "Win rate: wins plus half the ties over all prompts, with Wilson's 95% interval. Difference: mean of the score minus the baseline's, with a 95% bootstrap interval over prompts."
                </p>
                <div class="scrolls">
                    <table class="cards-on-phone">
                        <thead>
                            <tr>
                                <th>"Model"</th>
                                <th>"Metric"</th>
                                <th class="figure">"Win rate"</th>
                                <th class="figure">"Wins, ties, losses"</th>
                                <th class="figure">"Difference"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </section>
        }
    })
}

fn by_category(comparisons: &[MetricComparison]) -> Option<impl IntoView + use<>> {
    let row = |of: &MetricComparison| {
        let metric = of.metric;
        let model = of.model.clone();
        of.categories
            .iter()
            .map(move |(category, wins)| {
                view! {
                    <tr>
                        <td class="lead">{category.clone()}</td>
                        <td data-label="Model">{model.clone()}</td>
                        <td data-label="Metric">{metric.label()}</td>
                        <td data-label="Win rate" class=verdict(wins.win_rate)>{rate(wins.win_rate)}</td>
                    </tr>
                }
            })
            .collect_view()
    };
    comparisons.iter().any(|of| !of.categories.is_empty()).then(|| {
        let rows = comparisons.iter().map(row).collect_view();
        view! {
            <details>
                <summary>"By category of prompts"</summary>
                <div class="scrolls">
                    <table class="cards-on-phone">
                        <thead>
                            <tr>
                                <th>"Category"</th>
                                <th>"Model"</th>
                                <th>"Metric"</th>
                                <th class="figure">"Win rate"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </details>
        }
    })
}

fn agreements(agreements: &[MetricsAgreement]) -> Option<impl IntoView + use<>> {
    let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let row = |of: &MetricsAgreement| {
        view! {
            <tr>
                <td class="lead">{format!("{} and {}", of.first.label(), of.second.label())}</td>
                <td data-label="Same preference" class="figure">{format!("{} of {}", of.same, of.decided)}</td>
                <td data-label="Kappa" class="figure">{value(of.kappa)}</td>
                <td data-label="Rank correlation" class="figure">{value(of.spearman)}</td>
            </tr>
        }
    };
    (!agreements.is_empty()).then(|| {
        let rows = agreements.iter().map(row).collect_view();
        view! {
            <section aria-labelledby="agreement">
                <h2 id="agreement">"Agreement of the metrics"</h2>
                <table class="cards-on-phone">
                    <thead>
                        <tr>
                            <th>"Metrics"</th>
                            <th class="figure">"Same preference"</th>
                            <th class="figure">"Kappa"</th>
                            <th class="figure">"Rank correlation"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </section>
        }
    })
}

/// What the numbers are, and what was not measured.
fn explanations(report: &EvaluationReport) -> impl IntoView + use<> {
    let item = |(metric, text): (&Metric, &String)| {
        view! { <li><b>{metric.label()}</b>": "{text.clone()}</li> }
    };
    let statements = report.statements.iter().map(item).collect_view();
    let missing = report
        .not_measured
        .iter()
        .map(|(metric, needs)| view! { <li><b>{metric.label()}</b>" needs "{needs.clone()}</li> })
        .collect_view();
    let warnings: Vec<String> = report
        .models
        .iter()
        .filter_map(|scored| scored.fid.as_ref())
        .flat_map(|fid| fid.warnings.clone())
        .collect();
    let warnings = warnings.first().cloned().map(|warning| view! { <li>{warning}</li> });
    view! {
        <details>
            <summary>"What the metrics are, and what was not measured"</summary>
            <ul>{statements}{warnings}</ul>
            {(!report.not_measured.is_empty()).then(|| view! { <p>"Not measured:"</p> <ul>{missing}</ul> })}
        </details>
    }
}
