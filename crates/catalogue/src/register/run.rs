//! A run of `train`: its folder as a run with curves, samples and models.

use super::{Registered, Registrar, TERMINAL, copy_model};
use crate::images::{Owner, SAMPLE_SEED, params, sample_settings};
use crate::models_folder::weights_sha256;
use crate::run_manifest::{RunManifest, modified};
use crate::run_models::model_of_run;
use crate::spec_changes::{SpecChange, changes};
use crate::{metrics_file, run_folder};
use anyhow::{Context, Result, bail, ensure};
use diffusion::part_folders::PartFolders;
use domain::id::JobId;
use domain::job::{Job, JobSpec, JobState};
use domain::model::Model;
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use process::ambient;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a run's folder holds.
struct RunFiles<'a> {
    folder: &'a Path,
    manifest: RunManifest,
    points: Vec<MetricPoint>,
    /// Steps of the complete models, in order.
    saved: Vec<u32>,
}

impl RunFiles<'_> {
    fn is_finished(&self) -> bool {
        self.saved.last() == Some(&self.manifest.spec.steps)
    }

    /// The last step of which the folder holds anything.
    fn step(&self) -> i64 {
        let last_saved = self.saved.last().map_or(0, |&step| i64::from(step));
        self.points.last().map_or(0, |point| point.step).max(last_saved)
    }
}

impl Registrar<'_> {
    /// Checks, before a run starts or resumes, that its models can be registered when it ends.
    ///
    /// # Errors
    /// Fails if another model has the name of the run's last model, or if the database cannot be read.
    pub async fn check_name(&self, folder: &Path, spec: &TrainSpec) -> Result<()> {
        let store = &self.catalogue.store;
        if let Some(manifest) = RunManifest::read(folder)?
            && changes(&manifest.spec, spec)?.iter().all(|change| change.is_free() && change.field != "name")
            && store.get_run(manifest.id).await?.is_some()
        {
            return Ok(());
        }
        ensure!(
            store.get_model_by_name(&spec.name).await?.is_none(),
            "name: a model {:?} is in the database: choose another name, or train without --register and use the \
             command register with --name",
            spec.name
        );
        Ok(())
    }

    pub(super) async fn run(&self, folder: &Path, name: Option<&str>, depth: usize) -> Result<Registered> {
        let files = RunFiles {
            folder,
            manifest: RunManifest::of(folder)?,
            points: metrics_file::read(folder)?,
            saved: run_folder::saved_steps(folder)
                .with_context(|| format!("cannot read {}", run_folder::models(folder).display()))?,
        };
        let store = &self.catalogue.store;
        let id = files.manifest.id;
        let existing = store.get_run(id).await?;
        ensure!(
            existing.as_ref().is_none_or(|run| run.state.is_final()),
            "a worker may still work on this run: cancel its job, or wait until it ends"
        );
        let (spec, base) = self.spec_of_row(&files.manifest, existing.as_ref(), name, depth).await?;
        let new = self.new_models(&files, &spec, &base).await?;

        // Files first: every row has its files.
        for (source, model) in &new {
            copy_model(source, &self.catalogue.artifacts.path(&model.folder)?, &model.sha256)?;
        }
        self.copy_resume_files(&files)?;
        store.register_run(&job(&files, &spec), id, files.step()).await?;
        store.add_points(id, &files.points).await?;
        self.add_samples(&files, &spec, &base).await?;
        for (_, model) in &new {
            store.insert_model(model, None).await?;
        }
        let models = store.list_models_of_run(id).await?;
        Ok(Registered { run: store.get_run(id).await?, models, new: new.len() })
    }

    /// The spec of the run's row, in which models are named as in the database, and the base's row.
    async fn spec_of_row(
        &self,
        manifest: &RunManifest,
        existing: Option<&Run>,
        name: Option<&str>,
        depth: usize,
    ) -> Result<(TrainSpec, Model)> {
        let written = &manifest.spec;
        if let Some(run) = existing {
            ensure!(
                name.is_none_or(|name| name == run.name),
                "--name: the run is already registered as {:?}; leave out --name",
                run.name
            );
            let TrainSpec { name, base, reference, .. } = run.spec.clone();
            let spec = TrainSpec { name, base, reference, ..written.clone() };
            // What a run may change when it goes on.
            let may_differ =
                |change: &SpecChange| change.is_free() || change.is_place() || change.is_learning_rate();
            let differing: Vec<String> = changes(&run.spec, &spec)?
                .iter()
                .filter(|change| !may_differ(change))
                .map(ToString::to_string)
                .collect();
            ensure!(
                differing.is_empty(),
                "the run {} in the database has another spec ({}): remove run.json to register this folder as a run of \
                 its own",
                run.id,
                differing.join("; ")
            );
            let base = store_base(self, &run.spec.base).await?;
            return Ok((spec, base));
        }
        let row = async |named: &str| {
            let local = self.local.named(named).ok().filter(|folder| folder.is_dir());
            self.row_of(named, local.as_deref(), depth).await
        };
        let base = row(&written.base).await.context("base")?;
        let reference = match &written.reference {
            Some(named) => Some(row(named).await.context("reference")?.name),
            None => None,
        };
        let name = name.unwrap_or(&written.name).to_owned();
        let spec = TrainSpec { name, base: base.name.clone(), reference, ..written.clone() };
        Ok((spec, base))
    }

    /// Rows for the models that have none, with their folders. Refuses weights that differ from those of a row, and names
    /// that are taken, before anything is written.
    async fn new_models(
        &self,
        files: &RunFiles<'_>,
        spec: &TrainSpec,
        base: &Model,
    ) -> Result<Vec<(PathBuf, Model)>> {
        let store = &self.catalogue.store;
        let rows = store.list_models_of_run(files.manifest.id).await?;
        let mut new = Vec::new();
        for &step in &files.saved {
            let source = run_folder::model(files.folder, step);
            let sha256 = weights_sha256(&PartFolders::new(&source, None))?;
            if let Some(row) = rows.iter().find(|row| row.step == Some(i64::from(step))) {
                ensure!(
                    row.sha256 == sha256,
                    "{}: its weights differ from those of the model {:?} that was registered from this run (SHA-256 \
                     {:.12} there, {sha256:.12} here): restore the file, or remove run.json and register the folder as \
                     another run with --name",
                    source.display(),
                    row.name,
                    row.sha256
                );
                continue;
            }
            let mut model = model_of_run(spec, base, files.manifest.id, step, &sha256);
            let mut taken = store.get_model_by_name(&model.name).await?;
            if taken.as_ref().is_some_and(|taken| taken.run_id == Some(files.manifest.id)) {
                // The run was prolonged: its earlier last model keeps its name.
                model.name = format!("{}-step{step}", spec.name);
                taken = store.get_model_by_name(&model.name).await?;
            }
            if let Some(taken) = taken {
                bail!(
                    "another model {:?} is in the database (SHA-256 {:.12} there, {sha256:.12} here): give the run \
                     another name with --name",
                    model.name,
                    taken.sha256
                );
            }
            new.push((source, model));
        }
        Ok(new)
    }

    /// Copies the manifest and, of an unfinished run, what a resumed run reads.
    fn copy_resume_files(&self, files: &RunFiles<'_>) -> Result<()> {
        let to = self.catalogue.artifacts.path(&run_folder::key(files.manifest.id))?;
        if to.canonicalize().is_ok_and(|to| to == files.folder) {
            // The folder is the copy, or that of a worker's run.
            return Ok(());
        }
        files::make_folder(&to)?;
        files.manifest.write(&to)?;
        run_folder::copy_resume_files(files.folder, &to, !files.is_finished())?;
        if files.is_finished() {
            // Copied when the run was registered before it finished.
            let state = to.join(run_folder::STATE);
            match fs::remove_file(&state) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", state.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Inserts the sample images that have no row, a step at a time.
    async fn add_samples(&self, files: &RunFiles<'_>, spec: &TrainSpec, base: &Model) -> Result<()> {
        let run = files.manifest.id;
        let samples = run_folder::samples(files.folder).context("cannot read the samples")?;
        if samples.is_empty() {
            return Ok(());
        }
        let (defaults, _) = self.catalogue.files(base).await?.folders().defaults()?;
        let settings = sample_settings(&defaults);
        let rows = self.catalogue.store.list_samples(run).await?;
        for samples in samples.chunk_by(|a, b| a.0 == b.0) {
            let of_step = rows.iter().filter(|row| row.step == Some(i64::from(samples[0].0)));
            let mut known: Vec<&str> = of_step.map(|row| row.params.prompt.as_str()).collect();
            let mut new = Vec::new();
            for (step, index, file) in samples {
                let Some(prompt) = spec.sample_prompts.get(*index) else { continue };
                if let Some(at) = known.iter().position(|known| known == prompt) {
                    known.swap_remove(at);
                    continue;
                }
                let png = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                let owner = Owner::Sample(run, i64::from(*step));
                new.push(
                    self.catalogue.keep_image(owner, params(&settings, prompt, SAMPLE_SEED), png).await?,
                );
            }
            if !new.is_empty() {
                self.catalogue.store.insert_images(&new, None).await?;
            }
        }
        Ok(())
    }
}

/// The row of the base of a run that exists.
async fn store_base(registrar: &Registrar<'_>, named: &str) -> Result<Model> {
    let base = registrar.catalogue.store.find_model(named).await?;
    base.with_context(|| format!("the base {named:?} of the run is no longer in the database"))
}

/// The job of a run that was made in a terminal.
fn job(files: &RunFiles<'_>, spec: &TrainSpec) -> Job {
    let (begun, total) = (files.manifest.begun, i64::from(spec.steps));
    let changed = modified(&files.folder.join("metrics.jsonl")).unwrap_or_else(ambient::now);
    Job {
        id: JobId::new(begun, ambient::entropy()),
        spec: JobSpec::Train(spec.clone()),
        state: if files.is_finished() { JobState::Succeeded } else { JobState::Cancelled },
        attempt: 1,
        cancel_requested: false,
        worker: Some(TERMINAL.to_owned()),
        progress: files.step(),
        total,
        error: None,
        run_id: Some(files.manifest.id),
        priority: 0,
        position: None,
        created_at: begun,
        queued_at: begun,
        started_at: Some(begun),
        finished_at: Some(changed.max(begun)),
    }
}
