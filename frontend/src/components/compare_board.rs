//! The charts of several runs, which follow the runs that have not ended.

use crate::components::poll::poll;
use crate::components::run_charts::{Charts, ChartsSnapshot, RunCharts};
use leptos::prelude::*;
use std::ops::ControlFlow;
use std::time::Duration;

/// `running`: the indices of runs that have not ended.
#[island(lazy)]
pub(crate) fn CompareBoard(snapshot: ChartsSnapshot, running: Vec<usize>) -> impl IntoView {
    let charts = Charts::new(&snapshot);
    let running = StoredValue::new(running);
    poll(Duration::from_secs(3), move || async move {
        for run in running.get_value() {
            if let Some(update) = charts.follow(run).await
                && update.state.is_final()
            {
                running.update_value(|running| running.retain(|other| *other != run));
            }
        }
        if running.with_value(Vec::is_empty) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    view! { <RunCharts charts snapshot /> }
}
