//! The live part of a run's page: status, metrics and sample images.

use crate::api::{self, Failure};
use crate::components::badge::StateBadge;
use crate::components::note::FailureNote;
use crate::components::poll::poll;
use crate::components::progress::Progress;
use crate::components::run_charts::RunCharts;
use crate::components::run_samples::RunSamples;
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
    pub(crate) curves: Vec<Curve>,
    pub(crate) samples: Vec<RunSample>,
}

/// Polls the run until it has ended.
#[island(lazy)]
pub(crate) fn RunLive(run: RunSnapshot) -> impl IntoView {
    let RunSnapshot { id, job, steps, images_per_step, error, cancel_requested, .. } = run;
    let state = RwSignal::new(run.state);
    let step = RwSignal::new(run.step);
    let curves = RwSignal::new(run.curves);
    let samples = RwSignal::new(run.samples);
    let finished_while_open = RwSignal::new(false);

    poll(Duration::from_millis(1500), move || async move {
        if state.get_untracked().is_final() {
            return ControlFlow::Break(());
        }
        let Ok(update) = api::run_metrics(id, last_step(&curves.read_untracked())).await else {
            return ControlFlow::Continue(());
        };
        let ended = update.state.is_final();
        if update.step != step.get_untracked() || ended {
            if let Ok(page) = api::run_samples(id).await
                && page.items.len() != samples.read_untracked().len()
            {
                samples.set(page.items);
            }
            step.set(update.step);
        }
        if !update.points.is_empty() {
            curves.update(|curves| extend(curves, &update));
        }
        state.set(update.state);
        finished_while_open.set(ended);
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
            <Cancel job state requested=cancel_requested />
        </div>
        {error.map(|error| view! { <div class="note bad" role="alert"><p>{error}</p></div> })}
        <Show when=move || finished_while_open.get() && state.get() == JobState::Succeeded fallback=|| ()>
            <div class="note good" role="status">
                <p>"The run has finished. Its model is on the " <a href="/models">"Models page"</a> "."</p>
            </div>
        </Show>
        <div class="tiles">
            {tile("Loss", metric::LOSS, format::number)}
            {tile("Implicit accuracy", metric::REWARDS_ACCURACIES, format::percent)}
            {tile("Reward margin", metric::REWARDS_MARGINS, format::number)}
            {tile("Images per second", metric::SAMPLES_PER_SECOND, format::number)}
        </div>
        <RunSamples samples />
        <RunCharts curves steps />
    }
}

/// The last step that any curve has a point of; -1 without points.
#[expect(clippy::cast_possible_truncation, reason = "steps are whole numbers far below 2^52")]
fn last_step(curves: &[Curve]) -> i64 {
    curves.iter().filter_map(|curve| curve.points.last()).fold(-1.0, |last: f64, point| last.max(point.0))
        as i64
}

/// A duration to about two digits.
fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The button that requests cancellation of the job.
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
                {move || if requested.get() { "Cancelling…" } else { "Cancel run" }}
            </button>
        </Show>
        {move || failure.get().map(|failure| view! { <FailureNote failure /> })}
    }
}
