//! Training jobs: the recipe with metrics, samples and models recorded in the database.

use super::lease::Lease;
use super::{Outcome, Worker};
use anyhow::{Context, Result, ensure};
use catalogue::images::{Owner, SAMPLE_SEED, params, png};
use catalogue::run_folder;
use catalogue::run_models::model_of_run;
use catalogue::world::belongs_to_bundled_world;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::Settings;
use domain::data::DataSpec;
use domain::evaluate::{EvaluateSpec, PromptSpec};
use domain::id::{JobId, RunId};
use domain::job::{JobSpec, JobState};
use domain::model::Model;
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use files::fenced;
use image::RgbImage;
use process::ambient::{entropy, now};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use store::{Claim, Conflict, Store, StoreError};
use tracing::{Span, field};
use training::checkpoint::SavedModel;
use training::data::clip::with_clip;
use training::data::fetched::fetch_for;
use training::data::votes::write_votes;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::train::{Ending, train};

/// Longest time for which metrics are buffered before they are written to the database.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn train(&self, claim: &Claim, spec: &TrainSpec, lease: &Lease) -> Result<Outcome> {
        let (base, start) = self.runtime.block_on(self.catalogue.find(&spec.base)).context("base")?;
        let start = with_clip(start, spec.clip.as_deref(), self.catalogue.models.root(), &self.hub)?;
        let reference = match &spec.reference {
            Some(name) => Some(self.runtime.block_on(self.catalogue.find(name)).context("reference")?.1),
            None => None,
        };
        let id = RunId::new(now(), entropy());
        let run = self.runtime.block_on(self.catalogue.store.begin_run(claim, id))?;
        Span::current().record("run_id", field::display(run.id));
        let folder = self.catalogue.artifacts.path(&run_folder::key(run.id))?;
        let paths = RunPaths { start, reference, run: folder, cache: self.cache.clone() };
        let mut records = RunRecords {
            worker: self,
            claim,
            lease,
            spec,
            base: &base,
            run: &run,
            points: Vec::new(),
            flushed: Instant::now(),
            last: None,
        };
        let data = self.write_data(spec, &paths, lease);
        // A worker that was suspended for longer than its lease writes nothing over the files of its successor.
        let trained =
            data.and_then(|()| fenced(lease.fence(), || train(spec, &paths, &self.device, &mut records)));
        let ending = match trained {
            // An error of a job that must stop is an interruption: for example, it came before the first step.
            Err(interruption) if self.must_stop(lease) => {
                tracing::info!("interrupted: {interruption:#}");
                return Ok(self.interrupted(lease));
            }
            other => other?,
        };
        records.flush(None)?;
        match ending {
            Ending::Stopped(_) => Ok(self.interrupted(lease)),
            Ending::Finished => {
                let last = records.last_model()?;
                self.enqueue_evaluation(spec, &paths.start, &last)?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Writes the data that are not files yet into the run's folder: votes, and the list of files fetched from the
    /// hub.
    fn write_data(&self, spec: &TrainSpec, paths: &RunPaths, lease: &Lease) -> Result<()> {
        if let DataSpec::Votes(votes) = &spec.data {
            self.runtime.block_on(write_votes(&self.catalogue, votes, &paths.run))?;
        }
        fetch_for(&spec.data, &paths.run, &self.hub, &mut || {
            ensure!(!self.must_stop(lease), "stopped while the set was being fetched");
            Ok(())
        })
    }

    /// Enqueues the evaluation of the finished model, if the spec asks for one.
    fn enqueue_evaluation(&self, spec: &TrainSpec, start: &PartFolders, model: &str) -> Result<()> {
        if spec.evaluate_prompts == 0 {
            return Ok(());
        }
        let prompts = if belongs_to_bundled_world(start) {
            PromptSpec::ShapesHeldOut { count: spec.evaluate_prompts }
        } else {
            PromptSpec::Validation { count: Some(spec.evaluate_prompts) }
        };
        let evaluation = EvaluateSpec { clip: spec.clip.clone(), ..EvaluateSpec::of(model, prompts) };
        let spec = JobSpec::Evaluate(evaluation);
        let id = JobId::new(now(), entropy());
        self.runtime.block_on(self.catalogue.store.enqueue_job(id, &spec, now()))?;
        Ok(())
    }
}

/// Records metrics, samples and models of a run as rows.
struct RunRecords<'a> {
    worker: &'a Worker,
    claim: &'a Claim,
    lease: &'a Lease,
    spec: &'a TrainSpec,
    base: &'a Model,
    run: &'a Run,
    /// Metrics that are not written yet.
    points: Vec<MetricPoint>,
    flushed: Instant,
    /// Name of the last saved model.
    last: Option<String>,
}

impl RunRecords<'_> {
    /// The name of the finished run's model. An attempt that ended after its last save and before its job did has saved it already.
    fn last_model(&self) -> Result<String> {
        if let Some(name) = &self.last {
            return Ok(name.clone());
        }
        let store = &self.worker.catalogue.store;
        let models = self.worker.runtime.block_on(store.list_models_of_run(self.run.id))?;
        let last = models.into_iter().find(|model| model.step == Some(i64::from(self.spec.steps)));
        Ok(last.context("the finished run has saved no model")?.name)
    }

    /// Writes the buffered metrics and the run's step: `step`, or by default that of the last metric.
    fn flush(&mut self, step: Option<i64>) -> Result<()> {
        let Some(step) = step.or_else(|| self.points.last().map(|p| p.step)) else { return Ok(()) };
        let store = &self.worker.catalogue.store;
        self.worker.runtime.block_on(store.append_metrics(self.claim, self.run.id, step, &self.points))?;
        self.points.clear();
        self.flushed = Instant::now();
        Ok(())
    }
}

impl Callbacks for RunRecords<'_> {
    fn encoding(&mut self, _: usize, _: usize) -> Result<()> {
        ensure!(!self.worker.must_stop(self.lease), "stopped while the set was being encoded");
        Ok(())
    }

    fn begin(&mut self, step: u32) -> Result<()> {
        self.lease.progress(i64::from(step), i64::from(self.spec.steps));
        let store = &self.worker.catalogue.store;
        self.worker.runtime.block_on(store.rewind_run(self.claim, self.run.id, i64::from(step)))?;
        Ok(())
    }

    fn step(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<ControlFlow<()>> {
        let step = i64::from(step);
        self.lease.progress(step, i64::from(self.spec.steps));
        self.points.extend(metrics.iter().map(|&(name, value)| MetricPoint {
            name: name.to_owned(),
            step,
            value,
        }));
        if self.flushed.elapsed() >= FLUSH_INTERVAL {
            self.flush(Some(step))?;
        }
        Ok(if self.worker.must_stop(self.lease) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn spent(&mut self, step: u32, metric: &'static str, seconds: f64) -> Result<()> {
        // Written with the points of the next step, or at the end of the run.
        self.points.push(MetricPoint { name: metric.to_owned(), step: step.into(), value: seconds });
        Ok(())
    }

    fn samples(&mut self, step: u32, settings: &Settings, images: &[RgbImage]) -> Result<()> {
        self.worker.runtime.block_on(async {
            let mut rows = Vec::new();
            for (prompt, image) in self.spec.sample_prompts.iter().zip(images) {
                let owner = Owner::Sample(self.run.id, i64::from(step));
                let params = params(settings, prompt, SAMPLE_SEED);
                rows.push(self.worker.catalogue.keep_image(owner, params, png(image)?).await?);
            }
            Ok(self.worker.catalogue.store.insert_images(&rows, Some(self.claim)).await?)
        })
    }

    fn retire(&mut self, step: u32) -> Result<bool> {
        let store = &self.worker.catalogue.store;
        self.worker.runtime.block_on(async {
            let models = store.list_models_of_run(self.run.id).await?;
            let Some(model) = models.into_iter().find(|m| m.step == Some(i64::from(step))) else {
                // An earlier attempt deleted the row and was killed before it deleted the files.
                return Ok(true);
            };
            if is_named_by_a_job(store, &model).await? {
                return Ok(false);
            }
            match store.delete_model(model.id, self.claim).await {
                Ok(()) => Ok(true),
                Err(StoreError::Conflict(Conflict::ModelInUse)) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn model(&mut self, saved: &SavedModel) -> Result<()> {
        let step = i64::from(saved.step);
        let store = &self.worker.catalogue.store;
        let runtime = &self.worker.runtime;
        self.flush(Some(step))?;
        let existing = runtime.block_on(store.list_models_of_run(self.run.id))?;
        if let Some(model) = existing.iter().find(|m| m.step == Some(step)) {
            // A resumed run repeats steps and saves the same weights again.
            self.last = Some(model.name.clone());
            return Ok(());
        }
        let mut model = model_of_run(self.spec, self.base, self.run.id, saved.step, &saved.sha256);
        match runtime.block_on(store.insert_model(&model, Some(self.claim))) {
            Err(StoreError::Conflict(Conflict::ModelName)) => {
                // An earlier run's model has this name; the end of the run's id makes it unique.
                let run = self.run.id.to_string();
                model.name = format!("{}-{}", model.name, &run[run.len() - 6..]);
                runtime.block_on(store.insert_model(&model, Some(self.claim)))?;
            }
            other => other?,
        }
        self.last = Some(model.name);
        Ok(())
    }
}

/// Whether a queued or running job names the model.
async fn is_named_by_a_job(store: &Store, model: &Model) -> Result<bool> {
    let id = model.id.to_string();
    for state in [JobState::Queued, JobState::Running] {
        let jobs = store.list_jobs(Some(state), u32::MAX).await?;
        if jobs.iter().flat_map(|job| job.spec.models()).any(|name| name == model.name || name == id) {
            return Ok(true);
        }
    }
    Ok(false)
}
