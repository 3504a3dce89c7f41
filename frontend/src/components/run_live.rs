//! The living part of a run's page: state, curves, samples and the models made.

use crate::api::{self, Failure};
use crate::components::badge::StateBadge;
use crate::components::note::FailureNote;
use crate::components::poll::poll;
use crate::components::run_charts::RunCharts;
use crate::components::run_samples::RunSamples;
use crate::components::run_table::Progress;
use crate::curve::{Curve, extend};
use crate::format;
use domain::api::RunSample;
use domain::id::{JobId, RunId};
use domain::job::JobState;
use domain::run::metric;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Duration;

/// What the page knows when it is drawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) run: RunId,
    pub(crate) job: JobId,
    pub(crate) state: JobState,
    pub(crate) cancel_requested: bool,
    pub(crate) error: Option<String>,
    pub(crate) step: i64,
    pub(crate) steps: i64,
    /// Images of one update, for the time left.
    pub(crate) images_per_step: f64,
    pub(crate) curves: Vec<Curve>,
    pub(crate) samples: Vec<RunSample>,
}

/// Watches the run until it has ended.
#[island]
pub(crate) fn RunLive(start: Start) -> impl IntoView {
    let Start { run, job, steps, images_per_step, error, .. } = start;
    let state = RwSignal::new(start.state);
    let step = RwSignal::new(start.step);
    let curves = RwSignal::new(start.curves);
    let samples = RwSignal::new(start.samples);
    let ended_here = RwSignal::new(false);

    poll(Duration::from_millis(1500), move || async move {
        if state.get_untracked().is_final() {
            return ControlFlow::Break(());
        }
        let Ok(news) = api::run_metrics(run, newest(&curves.read_untracked())).await else {
            return ControlFlow::Continue(());
        };
        let ended = news.state.is_final();
        if news.step != step.get_untracked() || ended {
            if let Ok(page) = api::run_samples(run).await
                && page.items.len() != samples.read_untracked().len()
            {
                samples.set(page.items);
            }
            step.set(news.step);
        }
        if !news.points.is_empty() {
            curves.update(|curves| extend(curves, &news));
        }
        state.set(news.state);
        ended_here.set(ended);
        ControlFlow::Continue(())
    });

    let latest = move |name: &'static str| {
        curves.with(|curves| {
            curves
                .iter()
                .find(|curve| curve.name == name)
                .and_then(|curve| curve.points.last())
                .map(|point| point.1)
        })
    };
    let time_left = move || {
        let speed = latest(metric::SAMPLES_PER_SECOND).filter(|speed| *speed > 0.0)?;
        #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        let seconds = (steps - step.get()).max(0) as f64 * images_per_step / speed;
        (state.get() == JobState::Running).then(|| format!("about {} left", rough(seconds)))
    };
    let tile = move |label: &'static str, name: &'static str, show: fn(f64) -> String| {
        move || {
            latest(name)
                .map(|value| view! { <div class="tile"><span>{label}</span><b>{show(value)}</b></div> })
        }
    };
    view! {
        <div class="status">
            <StateBadge state />
            <Progress step steps=steps />
            <span class="soft">{time_left}</span>
            <Cancel job state requested=start.cancel_requested />
        </div>
        {error.map(|error| view! { <div class="note bad" role="alert"><p>{error}</p></div> })}
        <Show when=move || ended_here.get() && state.get() == JobState::Succeeded fallback=|| ()>
            <div class="note good" role="status">
                <p>"The run has finished. Its model is ready: " <a href="/models">"see it among the models"</a> "."</p>
            </div>
        </Show>
        <div class="tiles">
            {tile("Loss", metric::LOSS, format::number)}
            {tile("Accuracy", metric::REWARDS_ACCURACIES, format::percent)}
            {tile("Margin", metric::REWARDS_MARGINS, format::number)}
            {tile("Images/s", metric::SAMPLES_PER_SECOND, format::number)}
        </div>
        <RunSamples samples />
        <RunCharts curves steps />
    }
}

/// The step of the newest point; -1 without any.
#[expect(clippy::cast_possible_truncation, reason = "steps are whole and small")]
fn newest(curves: &[Curve]) -> i64 {
    curves.iter().filter_map(|curve| curve.points.last()).fold(-1.0, |newest: f64, point| newest.max(point.0))
        as i64
}

fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Asks the job to stop.
#[component]
fn Cancel(job: JobId, state: RwSignal<JobState>, requested: bool) -> impl IntoView {
    let requested = RwSignal::new(requested);
    let failure = RwSignal::new(None::<Failure>);
    let cancel = move |_| {
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
            <button type="button" class="quiet danger" disabled=move || requested.get() on:click=cancel>
                {move || if requested.get() { "Stopping…" } else { "Cancel run" }}
            </button>
        </Show>
        {move || failure.get().map(|failure| view! { <FailureNote failure /> })}
    }
}
