//! A training job: the recipe, watched by the queue.

use super::lease::Lease;
use super::{Outcome, Worker};
use anyhow::{Context, Result, ensure};
use catalogue::images::{Owner, params, png};
use catalogue::run_folder;
use diffusion::pipeline::Settings;
use domain::data::DataSpec;
use domain::evaluate::{EvaluateSpec, PromptSpec};
use domain::id::{JobId, ModelId};
use domain::job::{JobSpec, JobState};
use domain::model::Model;
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use image::RgbImage;
use process::ambient::{entropy, now};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use store::{Claim, Conflict, StoreError};
use training::checkpoint::SavedModel;
use training::data::fetched::fetch_for;
use training::data::votes::write_votes;
use training::recipes::callbacks::Callbacks;
use training::recipes::run_paths::RunPaths;
use training::recipes::samples::SAMPLE_SEED;
use training::recipes::train::{Ending, train};

/// Longest time that points of curves wait to be written: often enough to watch, seldom enough to cost nothing.
const FLUSH: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn train(&self, claim: &Claim, spec: &TrainSpec, lease: &Lease) -> Result<Outcome> {
        let (base, start) = self.runtime.block_on(self.catalogue.find(&spec.base)).context("base")?;
        let reference = match &spec.reference {
            Some(name) => Some(self.runtime.block_on(self.catalogue.find(name)).context("reference")?.1),
            None => None,
        };
        let id = domain::id::RunId::new(now(), entropy());
        let run = self.runtime.block_on(self.catalogue.store.begin_run(claim, id))?;
        let key = format!("runs/{}", run.id);
        let places = RunPaths {
            start,
            reference,
            run: self.catalogue.artifacts.path(&key)?,
            cache: self.cache.clone(),
        };
        if let DataSpec::Votes(votes) = &spec.data {
            self.runtime.block_on(write_votes(&self.catalogue, votes, &places.run))?;
        }
        let fetched = fetch_for(&spec.data, &places.run, &self.hub, &mut || {
            ensure!(!self.must_stop(lease), "stopped while the set was fetched");
            Ok(())
        });
        let mut queue = Queue {
            worker: self,
            claim,
            lease,
            spec,
            base: &base,
            run: &run,
            key,
            points: Vec::new(),
            flushed: Instant::now(),
            last: None,
        };
        let ending = match fetched.and_then(|()| train(spec, &places, &self.device, &mut queue)) {
            // What was interrupted before its first step, or while its lease was taken away, has not failed.
            Err(interruption) if self.must_stop(lease) => {
                tracing::info!(job = %claim.job.id, "interrupted: {interruption:#}");
                return Ok(self.interrupted(lease));
            }
            other => other?,
        };
        queue.flush(None)?;
        match ending {
            Ending::Stopped(_) => Ok(self.interrupted(lease)),
            Ending::Finished => {
                let last = queue.last.context("a finished run has made a model")?;
                self.ask_for_evaluation(spec, &last)?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Evaluates the finished model in a job of its own, if the spec says so.
    fn ask_for_evaluation(&self, spec: &TrainSpec, model: &str) -> Result<()> {
        if spec.evaluate_prompts == 0 {
            return Ok(());
        }
        let prompts = PromptSpec::ShapesHeldOut { count: spec.evaluate_prompts };
        let spec = JobSpec::Evaluate(EvaluateSpec::of(model, prompts));
        let id = JobId::new(now(), entropy());
        self.runtime.block_on(self.catalogue.store.enqueue_job(id, &spec, now()))?;
        Ok(())
    }
}

/// Records a run in the store.
struct Queue<'a> {
    worker: &'a Worker,
    claim: &'a Claim,
    lease: &'a Lease,
    spec: &'a TrainSpec,
    base: &'a Model,
    run: &'a Run,
    /// Of the run's folder in the artifact store.
    key: String,
    points: Vec<MetricPoint>,
    flushed: Instant,
    /// Name of the last model.
    last: Option<String>,
}

impl Queue<'_> {
    /// Writes the points that wait; of step `step` if given, else of the last point's.
    fn flush(&mut self, step: Option<i64>) -> Result<()> {
        let Some(step) = step.or_else(|| self.points.last().map(|p| p.step)) else { return Ok(()) };
        let store = &self.worker.catalogue.store;
        self.worker.runtime.block_on(store.append_metrics(self.claim, self.run.id, step, &self.points))?;
        self.points.clear();
        self.flushed = Instant::now();
        Ok(())
    }
}

impl Callbacks for Queue<'_> {
    fn encoding(&mut self, _done: usize, _of: usize) -> Result<()> {
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
        if self.flushed.elapsed() >= FLUSH {
            self.flush(Some(step))?;
        }
        Ok(if self.worker.must_stop(self.lease) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
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
            let made = store.list_models_of_run(self.run.id).await?;
            let Some(model) = made.into_iter().find(|m| m.step == Some(i64::from(step))) else {
                return Ok(true); // a row went before and its files stayed
            };
            let id = model.id.to_string();
            for state in [JobState::Queued, JobState::Running] {
                let jobs = store.list_jobs(Some(state), u32::MAX).await?;
                if jobs.iter().flat_map(|job| job.spec.models()).any(|name| name == model.name || name == id)
                {
                    return Ok(false);
                }
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
        let known = runtime.block_on(store.list_models_of_run(self.run.id))?;
        if let Some(model) = known.iter().find(|m| m.step == Some(step)) {
            // A resumed run repeats steps, and makes the same weights again.
            self.last = Some(model.name.clone());
            return Ok(());
        }
        let last = saved.step == self.spec.steps;
        let name = if last { self.spec.name.clone() } else { format!("{}-step{step}", self.spec.name) };
        let mut model = Model {
            id: ModelId::new(now(), entropy()),
            folder: run_folder::model_key(&self.key, saved.step),
            name,
            sha256: saved.sha256.clone(),
            base_id: Some(self.base.id),
            run_id: Some(self.run.id),
            step: Some(step),
            objective: Some(self.spec.objective.kind().to_owned()),
            description: format!(
                "{} from {}, {step} of {} steps",
                self.spec.objective.kind(),
                self.base.name,
                self.spec.steps
            ),
            created_at: now(),
        };
        match runtime.block_on(store.insert_model(&model, Some(self.claim))) {
            Err(StoreError::Conflict(Conflict::ModelName)) => {
                // An earlier run has the name: the end of the run's id tells them apart.
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
