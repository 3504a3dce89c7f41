//! Image generation. One thread owns the models; requests reach it through a bounded queue, which rejects what exceeds it.
//! Compatible requests form one batch. A request whose client has disconnected is dropped, between two steps if its batch
//! is running.

use crate::generation_places::{Place, Places, Work};
use anyhow::Context;
use candle_core::Device;
use catalogue::images::png;
use catalogue::models::ModelFiles;
use diffusion::device::DeviceName;
use diffusion::fingerprint::Fingerprint;
use diffusion::lora::Adapters;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use domain::api::CutText;
use evaluation::safety_checker::SafetyChecker;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Span;

/// Images in a batch on a GPU. Larger batches need more memory and are hardly faster.
const GPU_BATCH_SIZE: usize = 8;
/// Images in a batch on a CPU, where batching saves no time. Matrix products round differently for other batch sizes, so
/// only images generated one by one have the same bytes every time.
const CPU_BATCH_SIZE: usize = 1;

/// Adapters that stay in memory with a model, so that alternating requests do not read them again.
const CACHED_ADAPTERS: usize = 16;

/// Cut texts that are remembered, so that each is logged once.
const REMEMBERED_CUTS: usize = 1024;

/// A LoRA adapter applied to a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppliedAdapter {
    /// What decides the adapter's updates besides the scale.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) scale: f64,
}

/// Images to generate with one model and one group of settings.
#[derive(Clone, Debug)]
pub(crate) struct GenerationRequest {
    pub(crate) model: ModelFiles,
    /// What decides the model's images. Files that changed on disk give another one.
    pub(crate) fingerprint: Fingerprint,
    /// In the order in which they are fused.
    pub(crate) adapters: Vec<AppliedAdapter>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) settings: Settings,
}

impl GenerationRequest {
    /// Whether both can be part of one batch.
    fn is_compatible(&self, other: &Self) -> bool {
        self.model == other.model
            && self.fingerprint == other.fingerprint
            && self.adapters == other.adapters
            && self.settings == other.settings
    }
}

/// The images of a request.
#[derive(Debug)]
pub(crate) struct Generated {
    /// One PNG file per prompt, without metadata; none where the safety checker flags the image.
    pub(crate) images: Vec<Option<Vec<u8>>>,
    /// Texts of the request whose end the text encoder did not read.
    pub(crate) cut: Vec<CutText>,
    /// Duration of the batch.
    pub(crate) seconds: f64,
}

/// Why a request has no images.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    #[error("the queue is full")]
    QueueFull,
    #[error("another request has this ticket")]
    TicketTaken,
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the server is stopping")]
    Stopping,
    #[error("the thread that generates has ended")]
    Ended,
    /// The model's files are missing, damaged or of another kind.
    #[error("{0}")]
    Model(String),
    /// The model cannot generate with this setting.
    #[error("{field}: {problem}")]
    Setting { field: &'static str, problem: String },
    /// The images would not be finite numbers.
    #[error("{0}")]
    NotFinite(String),
    #[error("generating: {0}")]
    Failed(String),
}

impl GenerationError {
    /// The error of a pipeline with this model and these adapters.
    fn of(error: diffusion::Error, model: &str, adapters: &[AppliedAdapter]) -> Self {
        match error {
            diffusion::Error::Setting { field, problem } => Self::Setting { field, problem },
            error @ diffusion::Error::NotFinite { .. } => {
                let adapters: Vec<String> = adapters.iter().map(|of| format!("{:?}", of.name)).collect();
                let with = match &adapters[..] {
                    [] => String::new(),
                    names => format!(" with the adapters {}", names.join(", ")),
                };
                Self::NotFinite(format!("Model {model:?}{with} gave no image: {error}."))
            }
            error => Self::failed(&error),
        }
    }

    fn failed(error: &impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A request in the queue or in the running batch.
struct QueuedRequest {
    request: GenerationRequest,
    reply: oneshot::Sender<Result<Generated, GenerationError>>,
    /// Where the client sees the steps.
    work: Arc<Work>,
    /// The span of the HTTP request, which the log lines of the generator's thread belong to.
    span: Span,
    /// Released with the request: the number of permits is the length of the queue.
    _permit: OwnedSemaphorePermit,
}

impl QueuedRequest {
    fn has_client(&self) -> bool {
        !self.reply.is_closed()
    }
}

/// When the thread last finished a part of its work: loading a model, a denoising step, a batch. None while it has no
/// work.
#[derive(Clone, Debug, Default)]
struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn rest(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Time since the last beat, unless the thread has no work.
    fn silence(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|beat| beat.elapsed())
    }
}

/// A handle on the thread, which ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    permits: Arc<Semaphore>,
    queue: mpsc::Sender<QueuedRequest>,
    stopping: Arc<AtomicBool>,
    pulse: Pulse,
    places: Places,
    is_cpu: bool,
}

impl Generator {
    /// Starts the thread. At most `queue_size` requests are queued or running, and `loaded_models` models are in memory.
    /// `batch_size` limits the images of a batch; none chooses by device. `checker` is the folder of the safety checker.
    ///
    /// # Errors
    /// Fails if the device or the safety checker cannot be opened.
    pub(crate) fn start(
        device: DeviceName,
        queue_size: usize,
        loaded_models: usize,
        batch_size: Option<usize>,
        checker: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let (queue, incoming) = mpsc::channel(queue_size);
        let stopping = Arc::new(AtomicBool::new(false));
        let device = device.open()?;
        let checker = checker
            .map(|folder| SafetyChecker::open(folder, &device).context("SAFETY_CHECKER"))
            .transpose()?;
        let is_cpu = device.is_cpu();
        let default_size = if is_cpu { CPU_BATCH_SIZE } else { GPU_BATCH_SIZE };
        let pulse = Pulse::default();
        let mut thread = GeneratorThread {
            incoming,
            waiting: VecDeque::new(),
            models: Models { device, loaded: Vec::new(), most: loaded_models },
            batch_size: batch_size.unwrap_or(default_size),
            checker,
            logged_cuts: VecDeque::new(),
            stopping: Arc::clone(&stopping),
            pulse: pulse.clone(),
        };
        std::thread::Builder::new().name("generator".into()).spawn(move || thread.run())?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(queue_size)),
            queue,
            stopping,
            pulse,
            places: Places::default(),
            is_cpu,
        })
    }

    /// Whether images are generated on a CPU.
    pub(crate) fn is_cpu(&self) -> bool {
        self.is_cpu
    }

    /// Why requests get no images now; none if the thread waits for requests or works on one. A thread that has finished
    /// no part of its work for `longest` counts as stuck.
    pub(crate) fn problem(&self, longest: Duration) -> Option<String> {
        if self.queue.is_closed() {
            return Some("The generator has ended. Restart the server.".to_owned());
        }
        let silence = self.pulse.silence().filter(|silence| *silence > longest)?;
        Some(format!(
            "The generator has not finished a step for {} seconds (GENERATOR_STALL is {}). Restart the server if that does \
             not change.",
            silence.as_secs(),
            longest.as_secs()
        ))
    }

    /// The requests that wait or run.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Generates the images of a request. Dropping the future cancels it, as does its ticket.
    pub(crate) async fn generate(
        &self,
        request: GenerationRequest,
        ticket: Option<&str>,
    ) -> Result<Generated, GenerationError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| GenerationError::QueueFull)?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err(GenerationError::Stopping);
        }
        let (reply, generated) = oneshot::channel();
        let place: Place = self.places.enter(ticket).ok_or(GenerationError::TicketTaken)?;
        let work = Arc::clone(&place.work);
        let queued = QueuedRequest { request, reply, work, span: Span::current(), _permit: permit };
        // The channel has as many slots as there are permits, so it is not full.
        self.queue.try_send(queued).map_err(|_| self.gone())?;
        tokio::select! {
            answer = generated => answer.unwrap_or_else(|_| Err(self.gone())),
            () = place.work.cancelled() => Err(GenerationError::Cancelled),
        }
    }

    /// Why the thread takes no request.
    fn gone(&self) -> GenerationError {
        if self.stopping.load(Ordering::Relaxed) { GenerationError::Stopping } else { GenerationError::Ended }
    }

    /// Stops the running batch before its next step and rejects the queue.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// The state of the generator's thread.
struct GeneratorThread {
    incoming: mpsc::Receiver<QueuedRequest>,
    waiting: VecDeque<QueuedRequest>,
    models: Models,
    /// Most images in a batch.
    batch_size: usize,
    checker: Option<SafetyChecker>,
    /// Hashes of texts whose cut was logged, newest last.
    logged_cuts: VecDeque<u64>,
    stopping: Arc<AtomicBool>,
    pulse: Pulse,
}

/// What a batch gives: one PNG file per prompt, none where the safety checker flags the image, and the cut texts of each
/// request.
type BatchOutcome = (Vec<Option<Vec<u8>>>, Vec<Vec<CutText>>);

impl GeneratorThread {
    fn run(&mut self) {
        while let Some(batch) = self.next_batch() {
            let began = Instant::now();
            self.pulse.beat();
            let outcome = if self.stopping.load(Ordering::Relaxed) {
                Err(GenerationError::Stopping)
            } else {
                // A panic fails this batch only; the thread continues with the next one.
                let generate = AssertUnwindSafe(|| batch[0].span.in_scope(|| self.generate(&batch)));
                catch_unwind(generate).unwrap_or_else(|_| Err(GenerationError::Failed("panicked".into())))
            };
            reply(batch, outcome, began.elapsed().as_secs_f64());
            self.pulse.rest();
        }
    }

    /// The oldest request that still has a client, with the compatible ones. None once all handles are dropped.
    fn next_batch(&mut self) -> Option<Vec<QueuedRequest>> {
        loop {
            if self.waiting.is_empty() {
                self.waiting.push_back(self.incoming.blocking_recv()?);
            }
            while let Ok(queued) = self.incoming.try_recv() {
                self.waiting.push_back(queued);
            }
            self.waiting.retain(QueuedRequest::has_client);
            let Some(first) = self.waiting.pop_front() else { continue };
            let mut size = first.request.prompts.len();
            let mut batch = vec![first];
            let mut others = VecDeque::new();
            for queued in self.waiting.drain(..) {
                let count = queued.request.prompts.len();
                if queued.request.is_compatible(&batch[0].request) && size + count <= self.batch_size {
                    size += count;
                    batch.push(queued);
                } else {
                    others.push_back(queued);
                }
            }
            self.waiting = others;
            return Some(batch);
        }
    }

    /// The images of a batch, in order. Stops between two steps once no request of the batch has a client.
    fn generate(&mut self, batch: &[QueuedRequest]) -> Result<BatchOutcome, GenerationError> {
        let GenerationRequest { model, fingerprint, adapters, settings, .. } = &batch[0].request;
        let prompts: Vec<Prompt> = batch.iter().flat_map(|queued| queued.request.prompts.clone()).collect();
        let model = self.models.load(model, fingerprint)?;
        model.apply_adapters(adapters)?;
        let mut cuts = Vec::with_capacity(batch.len());
        for queued in batch {
            let cut = cut_texts(&model.pipeline, &queued.request)?;
            queued.span.in_scope(|| log_cuts(&cut, &queued.request, &mut self.logged_cuts));
            cuts.push(cut);
        }
        let (stopping, pulse) = (&self.stopping, &self.pulse);
        let wanted = || !stopping.load(Ordering::Relaxed) && batch.iter().any(QueuedRequest::has_client);
        let runs = u32::try_from(prompts.len().div_ceil(self.batch_size)).unwrap_or(u32::MAX);
        let steps = runs.saturating_mul(settings.steps);
        batch.iter().for_each(|queued| queued.work.begin(steps));
        let mut done: u32 = 0;
        let mut on_step = |_, _| {
            pulse.beat();
            done += 1;
            batch.iter().for_each(|queued| queued.work.reach(done));
            if wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let mut files = Vec::with_capacity(prompts.len());
        for prompts in prompts.chunks(self.batch_size) {
            pulse.beat();
            if !wanted() {
                return Err(GenerationError::Stopping);
            }
            let images = model
                .pipeline
                .generate(prompts, settings, &mut on_step)
                .map_err(|error| GenerationError::of(error, &model.files.name, adapters))?
                .ok_or(GenerationError::Stopping)?;
            let verdicts = self.checker.as_ref().map(|checker| checker.check(&images)).transpose();
            let verdicts = verdicts.map_err(|error| GenerationError::failed(&error))?;
            for (i, image) in images.iter().enumerate() {
                let flagged = verdicts.as_ref().is_some_and(|verdicts| verdicts[i].is_unsafe());
                let file = (!flagged).then(|| png(image)).transpose();
                files.push(file.map_err(|error| GenerationError::failed(&error))?);
            }
        }
        Ok((files, cuts))
    }
}

/// The texts of a request whose end the model's text encoders do not read. The prompts of a request differ in the seed only.
fn cut_texts(pipeline: &TextToImage, request: &GenerationRequest) -> Result<Vec<CutText>, GenerationError> {
    let mut cut = Vec::new();
    for (field, text) in texts(request) {
        let found = pipeline.text_encoders().cut(text).map_err(|error| GenerationError::failed(&error))?;
        cut.extend(found.map(|found| CutText {
            field: field.to_owned(),
            tokens: found.tokens as u64,
            text: found.text,
        }));
    }
    Ok(cut)
}

/// The texts of a request, each with its field.
fn texts(request: &GenerationRequest) -> impl Iterator<Item = (&'static str, &str)> {
    request.prompts.first().into_iter().flat_map(|prompt| {
        let negative = prompt.negative_prompt.as_deref().map(|text| ("negative_prompt", text));
        std::iter::once(("prompt", prompt.prompt.as_str())).chain(negative)
    })
}

/// Logs each cut text once, without the text.
fn log_cuts(cut: &[CutText], request: &GenerationRequest, logged: &mut VecDeque<u64>) {
    for CutText { field, tokens, .. } in cut {
        let text = texts(request).find(|(name, _)| name == field);
        let mut hasher = DefaultHasher::new();
        (&request.model.name, text).hash(&mut hasher);
        let hash = hasher.finish();
        if logged.contains(&hash) {
            continue;
        }
        logged.push_back(hash);
        if logged.len() > REMEMBERED_CUTS {
            logged.pop_front();
        }
        tracing::warn!(
            model = request.model.name,
            field,
            tokens_cut = tokens,
            "the text encoder does not read the end of a text"
        );
    }
}

/// The models in memory.
struct Models {
    device: Device,
    /// Least recently used first.
    loaded: Vec<LoadedModel>,
    /// Most models in memory.
    most: usize,
}

impl Models {
    /// The model, from memory or from its files. Unloads the least recently used models to make room, and the model as it
    /// was before its files changed.
    fn load(
        &mut self,
        files: &ModelFiles,
        fingerprint: &Fingerprint,
    ) -> Result<&mut LoadedModel, GenerationError> {
        let is_known = |known: &LoadedModel| known.files == *files && known.fingerprint == *fingerprint;
        let model = match self.loaded.iter().position(is_known) {
            Some(index) => self.loaded.remove(index),
            None => {
                self.loaded.retain(|known| known.files.id != files.id);
                let excess = (self.loaded.len() + 1).saturating_sub(self.most);
                self.loaded.drain(..excess);
                let began = Instant::now();
                let problem =
                    |error: &diffusion::Error| GenerationError::Model(unreadable(files, &error.to_string()));
                let folders = files.folders();
                let pipeline = TextToImage::open(&folders, &self.device).map_err(|error| problem(&error))?;
                if Fingerprint::of(&folders).map_err(|error| problem(&error))? != *fingerprint {
                    let name = &files.name;
                    return Err(GenerationError::Model(format!(
                        "Files of model {name:?} changed while the request waited. Send it again."
                    )));
                }
                tracing::info!(model = files.name, seconds = began.elapsed().as_secs_f64(), "model loaded");
                LoadedModel {
                    files: files.clone(),
                    fingerprint: fingerprint.clone(),
                    pipeline,
                    applied: Vec::new(),
                    adapters: Vec::new(),
                }
            }
        };
        self.loaded.push(model);
        self.loaded.last_mut().ok_or_else(|| GenerationError::Failed("no model".into()))
    }
}

struct LoadedModel {
    files: ModelFiles,
    fingerprint: Fingerprint,
    pipeline: TextToImage,
    /// The adapters that are fused into the weights now.
    applied: Vec<AppliedAdapter>,
    /// Adapters that were read, least recently used first.
    adapters: Vec<(Fingerprint, Adapters)>,
}

impl LoadedModel {
    /// Replaces the applied adapters.
    fn apply_adapters(&mut self, wanted: &[AppliedAdapter]) -> Result<(), GenerationError> {
        if self.applied == wanted {
            return Ok(());
        }
        let unusable = |adapter: &AppliedAdapter, problem: &str| {
            let problem = problem.replace(&adapter.file.display().to_string(), &adapter.name);
            let problem = format!("adapter {:?} cannot be applied: {problem}", adapter.name);
            GenerationError::Setting { field: "lora", problem }
        };
        for wanted in wanted {
            let known = self.adapters.iter().position(|(known, _)| *known == wanted.fingerprint);
            let adapter = match known {
                Some(index) => self.adapters.remove(index).1,
                None => self.read_adapter(wanted).map_err(|error| unusable(wanted, &error))?,
            };
            self.adapters.push((wanted.fingerprint.clone(), adapter));
        }
        let excess = self.adapters.len().saturating_sub(CACHED_ADAPTERS.max(wanted.len()));
        self.adapters.drain(..excess);
        let adapters: Vec<(&Adapters, f64)> = wanted
            .iter()
            .filter_map(|wanted| {
                let (_, adapter) = self.adapters.iter().find(|(known, _)| *known == wanted.fingerprint)?;
                Some((adapter, wanted.scale))
            })
            .collect();
        // After an error no adapters are applied.
        self.applied.clear();
        let applied = self.pipeline.apply_adapters(&adapters);
        applied.map_err(|error| GenerationError::of(error, &self.files.name, wanted))?;
        self.applied = wanted.to_vec();
        Ok(())
    }

    fn read_adapter(&self, wanted: &AppliedAdapter) -> Result<Adapters, String> {
        let adapter = self.pipeline.read_adapter(&wanted.file).map_err(|error| error.to_string())?;
        let now = Fingerprint::of_adapter(&wanted.file).map_err(|error| error.to_string())?;
        if now == wanted.fingerprint {
            Ok(adapter)
        } else {
            Err("its files changed while the request waited: send it again".to_owned())
        }
    }
}

/// The message for a model whose files cannot be read. Names the file and the tensor, but no path of this machine.
pub(crate) fn unreadable(files: &ModelFiles, problem: &str) -> String {
    let mut problem = problem.replace(&files.folder.display().to_string(), &files.name);
    for base in &files.bases {
        problem = problem.replace(&base.display().to_string(), "its base model");
    }
    format!(
        "Model {:?} cannot be used: {problem}. Restore its files; other models are not affected.",
        files.name
    )
}

/// Sends each request of a batch its own images.
fn reply(batch: Vec<QueuedRequest>, outcome: Result<BatchOutcome, GenerationError>, seconds: f64) {
    let mut parts = outcome.map(|(files, cuts)| (files.into_iter(), cuts.into_iter()));
    for QueuedRequest { request, reply, span, .. } in batch {
        let generated = match &mut parts {
            Ok((files, cuts)) => {
                let images: Vec<_> = files.take(request.prompts.len()).collect();
                span.in_scope(|| {
                    tracing::info!(
                        model = request.model.name,
                        images = images.len(),
                        seconds,
                        "images generated"
                    );
                });
                Ok(Generated { images, cut: cuts.next().unwrap_or_default(), seconds })
            }
            Err(error) => Err(error.clone()),
        };
        // The client may have disconnected in the meantime.
        drop(reply.send(generated));
    }
}

#[cfg(test)]
mod tests {
    use super::{GenerationError, GenerationRequest, Generator};
    use catalogue::models::ModelFiles;
    use diffusion::device::DeviceName;
    use diffusion::fingerprint::Fingerprint;
    use diffusion::pipeline::{Prompt, Settings};
    use diffusion::sampler::SamplerKind;
    use domain::id::ModelId;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, Instant};
    use uuid::Uuid;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/diffusion/tests/fixtures/model");
    const LONGEST: Duration = Duration::from_millis(500);

    fn request(folder: PathBuf) -> GenerationRequest {
        let prompt = Prompt { prompt: "a cat".to_owned(), negative_prompt: None, seed: 1 };
        let model = |folder| ModelFiles {
            id: ModelId(Uuid::nil()),
            name: "tiny".to_owned(),
            folder,
            bases: Vec::new(),
        };
        // Every folder of these tests holds the files of `MODEL`.
        let fingerprint = Fingerprint::of(&model(MODEL.into()).folders()).expect("a fingerprint");
        GenerationRequest {
            model: model(folder),
            fingerprint,
            adapters: Vec::new(),
            prompts: vec![prompt],
            settings: Settings {
                width: 8,
                height: 8,
                steps: 2,
                guidance_scale: 1.0,
                sampler: SamplerKind::Ddim,
            },
        }
    }

    async fn wait_until(what: &str, ready: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !ready() {
            assert!(began.elapsed() < Duration::from_secs(60), "timed out waiting until {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// The thread blocks in the read of a named pipe that nobody writes to, as on a network file system that has gone.
    #[tokio::test]
    async fn a_stuck_thread_is_noticed_and_recovers() {
        let scratch = tempfile::tempdir().expect("a folder");
        let stuck = scratch.path().join("stuck");
        files::copy_folder(Path::new(MODEL), &stuck).expect("a copy");
        let pipe = stuck.join("vae/config.json");
        let text = std::fs::read(&pipe).expect("a config");
        std::fs::remove_file(&pipe).expect("removed");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());

        let generator = Generator::start(DeviceName::Cpu, 4, 1, None, None).expect("a generator");
        let whole = || generator.generate(request(MODEL.into()), None);
        assert_eq!(whole().await.expect("an image").images.len(), 1);
        tokio::time::sleep(2 * LONGEST).await;
        assert_eq!(generator.problem(LONGEST), None, "idle");

        let waiting = {
            let (generator, request) = (generator.clone(), request(stuck));
            tokio::spawn(async move { generator.generate(request, None).await })
        };
        let noticed = wait_until("it is noticed", || generator.problem(LONGEST).is_some()).await;
        assert!(noticed >= LONGEST && noticed < 10 * LONGEST, "{noticed:?}");
        let problem = generator.problem(LONGEST).expect("a problem");
        assert!(problem.contains("GENERATOR_STALL"), "{problem}");
        // Opened while the thread waits in its own opening. Later reads find a file.
        let mut writer = std::fs::OpenOptions::new().write(true).open(&pipe).expect("the pipe");
        let file = pipe.with_extension("new");
        std::fs::write(&file, &text).expect("written");
        std::fs::rename(&file, &pipe).expect("renamed");
        writer.write_all(&text).expect("written");
        drop(writer);
        assert_eq!(waiting.await.expect("ends").expect("an image").images.len(), 1);
        wait_until("it recovers", || generator.problem(LONGEST).is_none()).await;
        assert_eq!(whole().await.expect("an image").images.len(), 1);
    }

    #[tokio::test]
    async fn a_thread_that_has_ended_is_noticed() {
        let mut generator = Generator::start(DeviceName::Cpu, 4, 1, None, None).expect("a generator");
        // The thread ends with its last handle; this one then has the closed end of another channel.
        let (closed, receiver) = tokio::sync::mpsc::channel(4);
        drop(receiver);
        generator.queue = closed;
        assert!(generator.problem(LONGEST).is_some_and(|problem| problem.contains("Restart")));
        let refused = generator.generate(request(MODEL.into()), None).await;
        assert!(matches!(refused, Err(GenerationError::Ended)), "{refused:?}");
        generator.stop();
        let refused = generator.generate(request(MODEL.into()), None).await;
        assert!(matches!(refused, Err(GenerationError::Stopping)), "{refused:?}");
    }
}
