//! What a run would take, before it is submitted.

use crate::error::ApiError;
use crate::state::AppState;
use catalogue::run_cost::estimate;
use domain::data_check::CostEstimate;
use domain::limits::DEFAULT_LIST_LENGTH;
use domain::run::metric;
use domain::train::TrainSpec;

/// Images per second of the latest run from this base that has reported its speed.
pub(crate) async fn latest_speed(state: &AppState, base: &str) -> Result<Option<f64>, ApiError> {
    for run in state.store.list_runs(DEFAULT_LIST_LENGTH).await? {
        if run.spec.base != base {
            continue;
        }
        let latest = state.store.latest_metrics(run.id, &[metric::SAMPLES_PER_SECOND]).await?;
        if let Some(point) = latest.into_iter().find(|point| point.value > 0.0) {
            return Ok(Some(point.value));
        }
    }
    Ok(None)
}

/// Memory, images and time of a run, without its data; none if its base cannot be read.
pub(crate) async fn cost_without_data(
    state: &AppState,
    spec: &TrainSpec,
) -> Result<Option<CostEstimate>, ApiError> {
    let (_, folders) = state.catalogue.find(&spec.base).await?;
    let (run, speed) = (spec.clone(), latest_speed(state, &spec.base).await?);
    let estimated = tokio::task::spawn_blocking(move || estimate(&run, &folders, 0, 0));
    match estimated.await.map_err(ApiError::internal)? {
        Ok(cost) => {
            #[expect(clippy::cast_precision_loss, reason = "images are far below 2^52")]
            let seconds = speed.map(|speed| cost.images as f64 / speed);
            Ok(Some(CostEstimate { encoded_bytes: 0, seconds, ..cost }))
        }
        Err(problem) => {
            tracing::debug!("no estimate: {problem:#}");
            Ok(None)
        }
    }
}
