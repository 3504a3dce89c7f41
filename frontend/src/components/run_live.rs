//! The live part of a run's page: status, samples, verdict, figures and charts.

use crate::api::{self, Failure};
use crate::components::badge::StateBadge;
use crate::components::live::on_change;
use crate::components::note::FailureNote;
use crate::components::progress::Progress;
use crate::components::run_charts::{Charts, ChartsSnapshot, RunCharts};
use crate::components::run_samples::{OtherSamples, RunSamples};
use crate::format;
use domain::api::{RunSample, RunSeries, run_page};
use domain::id::{JobId, RunId};
use domain::job::JobState;
use domain::run::metric;
use leptos::ev::MouseEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};

/// Metrics with a figure at the top, with their labels.
pub(crate) const FIGURES: [(&str, &str); 5] = [
    (metric::LOSS, "Loss"),
    (metric::REWARDS_ACCURACIES, "Implicit accuracy"),
    (metric::REWARDS_MARGINS, "Reward margin"),
    (metric::VALIDATION_LOSS, "Validation loss"),
    (metric::SAMPLES_PER_SECOND, "Images per second"),
];

/// A metric's mean over the last steps, and its last value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    metric: String,
    mean: f64,
    /// Steps of the mean.
    steps: i64,
    /// Values of the mean.
    count: u32,
    step: i64,
    last: Option<f64>,
}

/// The figures of a response that reaches the run's last step.
pub(crate) fn figures(reply: &RunSeries) -> Vec<Figure> {
    let figure = |(name, _): &(&str, &str)| {
        let series = reply.series.iter().find(|series| series.metric == *name)?;
        let (recent, last) = (series.recent?, series.last?);
        Some(Figure {
            metric: (*name).to_owned(),
            mean: recent.mean,
            steps: recent.steps,
            count: recent.count,
            step: last.step,
            last: last.value,
        })
    };
    FIGURES.iter().filter_map(figure).collect()
}

/// The run as the server rendered it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunSnapshot {
    pub(crate) id: RunId,
    pub(crate) job: JobId,
    pub(crate) state: JobState,
    pub(crate) cancel_requested: bool,
    pub(crate) error: Option<String>,
    pub(crate) step: i64,
    pub(crate) steps: i64,
    /// Images per optimiser update, from which the remaining time is estimated.
    pub(crate) images_per_step: f64,
    pub(crate) charts: ChartsSnapshot,
    pub(crate) figures: Vec<Figure>,
    pub(crate) samples: Vec<RunSample>,
    pub(crate) other: Option<OtherSamples>,
    /// Sentences about the run as it was when the page was rendered.
    pub(crate) verdict: String,
}

/// Follows the run by the stream of its page.
#[island(lazy)]
pub(crate) fn RunLive(run: RunSnapshot) -> impl IntoView {
    let RunSnapshot { id, job, steps, images_per_step, error, cancel_requested, other, verdict, .. } = run;
    let state = RwSignal::new(run.state);
    let step = RwSignal::new(run.step);
    let figures = RwSignal::new(run.figures);
    let samples = RwSignal::new(run.samples);
    let finished_while_open = RwSignal::new(false);
    let charts = Charts::new(&run.charts);
    follow(id, charts, Live { state, step, figures, samples, finished_while_open });

    let time_left = move || {
        let speed = figures.with(|figures| {
            figures
                .iter()
                .find(|figure| figure.metric == metric::SAMPLES_PER_SECOND)
                .map(|figure| figure.mean)
        });
        let speed = speed.filter(|speed| *speed > 0.0)?;
        #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        let seconds = (steps - step.get()).max(0) as f64 * images_per_step / speed;
        (state.get() == JobState::Running).then(|| format!("about {} left", rough(seconds)))
    };
    view! {
        <div class="status">
            <StateBadge state />
            <Progress step steps=steps />
            <span class="soft">{time_left}</span>
            <Cancel run=id job state requested=cancel_requested />
        </div>
        {error.map(|error| view! { <div class="note bad" role="alert"><p>{error}</p></div> })}
        <Show when=move || finished_while_open.get() fallback=|| ()>
            <div class="note good" role="status">
                <p>"The run has ended. " <a href="">"Reload"</a> " for its verdict and checkpoints."</p>
            </div>
        </Show>
        <p class="verdict">{verdict}</p>
        <RunSamples samples other />
        <div class="tiles">{move || figures.get().into_iter().map(tile).collect_view()}</div>
        <RunCharts charts snapshot=run.charts />
    }
}

/// What changes while a run is followed.
#[derive(Clone, Copy)]
struct Live {
    state: RwSignal<JobState>,
    step: RwSignal<i64>,
    figures: RwSignal<Vec<Figure>>,
    samples: RwSignal<Vec<RunSample>>,
    finished_while_open: RwSignal<bool>,
}

fn follow(id: RunId, charts: Charts, live: Live) {
    let Live { state, step, figures, samples, finished_while_open } = live;
    on_change(move || async move {
        if state.get_untracked().is_final() {
            return;
        }
        let Some(mut update) = charts.follow(0).await else { return };
        let is_part = charts.shared.view.with_untracked(|view| view.range.is_some());
        if is_part && update.step != step.get_untracked() {
            // A view of a part does not show what is new.
            let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
            let fields = format!("metric={}&buckets=1&after={}", names.join(","), step.get_untracked());
            let Ok(newest) = api::run_series(id, &fields).await else { return };
            update = newest;
        }
        let ended = update.state.is_final();
        if update.step != step.get_untracked() || ended {
            if let Ok(page) = api::run_samples(id).await
                && page.items.len() != samples.read_untracked().len()
            {
                samples.set(page.items);
            }
            step.set(update.step);
        }
        let newer = self::figures(&update);
        figures.update(|figures| {
            for figure in newer {
                match figures.iter_mut().find(|known| known.metric == figure.metric) {
                    Some(known) => *known = figure,
                    None => figures.push(figure),
                }
            }
        });
        state.set(update.state);
        finished_while_open.set(ended);
    });
}

fn tile(figure: Figure) -> impl IntoView {
    let label = FIGURES.iter().find(|(name, _)| *name == figure.metric).map_or("", |(_, label)| *label);
    let window = match figure.count {
        1 => format!("step {}", figure.step),
        _ => {
            let last = figure.last.map_or_else(|| "not finite".to_owned(), format::number);
            format!("mean of the last {} steps; last {last}", figure.steps)
        }
    };
    view! { <div class="tile"><span>{label}</span><b>{format::number(figure.mean)}</b><small>{window}</small></div> }
}

/// A duration to about two digits.
fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The button that requests cancellation of the job. Without JavaScript its form does.
#[component]
fn Cancel(run: RunId, job: JobId, state: RwSignal<JobState>, requested: bool) -> impl IntoView {
    let requested = RwSignal::new(requested);
    let failure = RwSignal::new(None::<Failure>);
    let cancel = move |click: MouseEvent| {
        click.prevent_default();
        requested.set(true);
        spawn_local(async move {
            if let Err(problem) = api::cancel_job(job).await {
                requested.set(false);
                failure.set(Some(problem));
            }
        });
    };
    view! {
        <Show when=move || !state.get().is_final() fallback=|| ()>
            <form method="post" action=format!("/jobs/{job}/cancel")>
                <input type="hidden" name="back" value=run_page(run) />
                <button class="quiet danger" disabled=move || requested.get() on:click=cancel>
                    {move || if requested.get() { "Cancelling…" } else { "Cancel run" }}
                </button>
            </form>
        </Show>
        {move || failure.get().map(|failure| view! { <FailureNote failure /> })}
    }
}
