//! A run of a comparison, with what its page needs.

use crate::components::run_charts::ChartRun;
use domain::api::{RunLineage, RunSample, RunSeries};
use domain::run::Run;
use leptos::prelude::*;

/// A run of the comparison.
pub(crate) struct Compared {
    pub(crate) run: Run,
    pub(crate) chart: ChartRun,
    pub(crate) series: RunSeries,
    pub(crate) samples: Vec<RunSample>,
    pub(crate) lineage: Option<RunLineage>,
}

/// The mean over the last steps of a run's curve, or its last value.
pub(crate) fn figure(compared: &Compared, name: &str) -> Option<f64> {
    let series = compared.series.series.iter().find(|series| series.metric == name)?;
    series.recent.map(|recent| recent.mean)
}

/// The fields of an address as hidden inputs of a form, without those that the form has itself.
pub(crate) fn hidden_fields(fixed: &[(String, String)], but: &[&str]) -> impl IntoView + use<> {
    fixed
        .iter()
        .filter(|(name, _)| !but.contains(&name.as_str()))
        .map(|(name, value)| view! { <input type="hidden" name=name.clone() value=value.clone() /> })
        .collect_view()
}
