//! The one thread that owns the models. Requests wait in a bounded queue that says no when it is full; those that fit
//! together become one batch; those whose client has left are dropped, between two steps if need be.

use anyhow::Context;
use candle_core::Device;
use diffusion::device::DeviceName;
use diffusion::lora::Adapter;
use diffusion::model_folders::ModelFolders as Folders;
use diffusion::pipeline::{Prompt, Settings, TextToImage};
use domain::id::ModelId;
use evaluation::safety_checker::SafetyChecker;
use image::{ImageFormat, RgbImage};
use std::collections::VecDeque;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Images in a batch on a GPU: more costs memory and gains little.
const BATCH_ON_GPU: usize = 8;
/// On a CPU a batch takes as long as its images one by one; and since products of matrices round differently with their
/// size, only an image drawn alone has the same bytes each time.
const BATCH_ON_CPU: usize = 1;

/// Adapters that stay in memory with a model: they are small, and are asked for in turn.
const KEPT_ADAPTERS: usize = 16;

/// A model's files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelFiles {
    pub(crate) id: ModelId,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Folders of the parts that `folder` lacks, nearest first.
    pub(crate) bases: Vec<PathBuf>,
}

impl ModelFiles {
    /// Where its parts lie.
    pub(crate) fn folders(&self) -> Folders {
        Folders::with_bases(&self.folder, self.bases.clone())
    }
}

/// An adapter to be put on, at a strength.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Worn {
    /// Stands for its weights.
    pub(crate) sha256: String,
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) scale: f64,
}

/// Images that are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) model: ModelFiles,
    /// Adapters over the model, in the order in which they are fused.
    pub(crate) worn: Vec<Worn>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) settings: Settings,
}

/// Images as PNG files, without metadata; none where the safety checker flags one.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) images: Vec<Option<Vec<u8>>>,
    pub(crate) seconds: f64,
}

/// Why there are none.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Try again later.
    #[error("the queue is full")]
    Full,
    /// The server is going down.
    #[error("the server is stopping")]
    Stopping,
    /// The model's files are damaged, missing or of another kind.
    #[error("{0}")]
    Model(String),
    /// The model cannot do what is asked of it.
    #[error("{field}: {problem}")]
    Setting { field: &'static str, problem: String },
    /// Something else.
    #[error("generating: {0}")]
    Failed(String),
}

struct Ticket {
    order: Order,
    answer: oneshot::Sender<Result<Drawn, Refusal>>,
    /// Held until the ticket is done: the queue's length is the number of permits.
    _place: OwnedSemaphorePermit,
}

impl Ticket {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }
}

/// A handle on the thread. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    places: Arc<Semaphore>,
    queue: mpsc::Sender<Ticket>,
    stopping: Arc<AtomicBool>,
}

impl Generator {
    /// Starts the thread: `queue_size` requests may wait or be at work, `loaded` models stay in memory, a batch has at
    /// most `batch` images, or what suits the device. What the safety checker in a folder flags is held back.
    ///
    /// # Errors
    /// A device or checker that cannot be opened.
    pub(crate) fn start(
        device: DeviceName,
        queue_size: usize,
        loaded: usize,
        batch: Option<usize>,
        checker: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let (queue, incoming) = mpsc::channel(queue_size);
        let stopping = Arc::new(AtomicBool::new(false));
        let device = device.open()?;
        let checker = checker
            .map(|folder| SafetyChecker::open(folder, &device).context("SAFETY_CHECKER"))
            .transpose()?;
        let suitable = if device.is_cpu() { BATCH_ON_CPU } else { BATCH_ON_GPU };
        let mut owner = Owner {
            device,
            batch: batch.unwrap_or(suitable),
            incoming,
            waiting: VecDeque::new(),
            models: Vec::new(),
            loaded,
            checker,
            stopping: Arc::clone(&stopping),
        };
        std::thread::Builder::new().name("generator".into()).spawn(move || owner.work())?;
        Ok(Self { places: Arc::new(Semaphore::new(queue_size)), queue, stopping })
    }

    /// Draws. Dropping the future withdraws the order.
    pub(crate) async fn draw(&self, order: Order) -> Result<Drawn, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Full)?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        let (answer, drawn) = oneshot::channel();
        // There is room: the channel is as long as there are places.
        self.queue.try_send(Ticket { order, answer, _place: place }).map_err(|_| Refusal::Stopping)?;
        drawn.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Stops the batch at work before its next step, and refuses what waits.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// What the thread owns.
struct Owner {
    device: Device,
    incoming: mpsc::Receiver<Ticket>,
    waiting: VecDeque<Ticket>,
    /// Least recently used first.
    models: Vec<Loaded>,
    loaded: usize,
    /// Most images in a batch.
    batch: usize,
    checker: Option<SafetyChecker>,
    stopping: Arc<AtomicBool>,
}

/// A model in memory.
struct Loaded {
    files: ModelFiles,
    pipeline: TextToImage,
    /// The adapters that it wears now.
    worn: Vec<Worn>,
    /// Adapters that it has worn, least recently used first.
    adapters: Vec<(Worn, Adapter)>,
}

impl Owner {
    fn work(&mut self) {
        while let Some(batch) = self.next_batch() {
            let orders: Vec<Order> = batch.iter().map(|ticket| ticket.order.clone()).collect();
            let wanted = || !self.stopping.load(Ordering::Relaxed) && batch.iter().any(Ticket::is_wanted);
            let began = Instant::now();
            let outcome = if self.stopping.load(Ordering::Relaxed) {
                Err(Refusal::Stopping)
            } else {
                let models = &mut self.models;
                let checker = self.checker.as_ref();
                // A panic in one request must not take the others' thread with it.
                catch_unwind(AssertUnwindSafe(|| {
                    draw(models, self.loaded, self.batch, checker, &self.device, &orders, &wanted)
                }))
                .unwrap_or_else(|_| Err(Refusal::Failed("panicked".into())))
            };
            let seconds = began.elapsed().as_secs_f64();
            deliver(batch, outcome, seconds);
        }
    }

    /// The oldest order that somebody still waits for, and those that fit with it. None when all handles are gone.
    fn next_batch(&mut self) -> Option<Vec<Ticket>> {
        loop {
            if self.waiting.is_empty() {
                self.waiting.push_back(self.incoming.blocking_recv()?);
            }
            while let Ok(ticket) = self.incoming.try_recv() {
                self.waiting.push_back(ticket);
            }
            self.waiting.retain(Ticket::is_wanted);
            let Some(first) = self.waiting.pop_front() else { continue };
            let mut size = first.order.prompts.len();
            let mut batch = vec![first];
            let mut others = VecDeque::new();
            for ticket in self.waiting.drain(..) {
                let fits = ticket.order.model == batch[0].order.model
                    && ticket.order.worn == batch[0].order.worn
                    && ticket.order.settings == batch[0].order.settings
                    && size + ticket.order.prompts.len() <= self.batch;
                if fits {
                    size += ticket.order.prompts.len();
                    batch.push(ticket);
                } else {
                    others.push_back(ticket);
                }
            }
            self.waiting = others;
            return Some(batch);
        }
    }
}

/// Draws all images of orders that fit together, one PNG file each, in the order of the orders; none for what the
/// checker flags.
fn draw(
    models: &mut Vec<Loaded>,
    loaded: usize,
    batch: usize,
    checker: Option<&SafetyChecker>,
    device: &Device,
    orders: &[Order],
    wanted: &dyn Fn() -> bool,
) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
    let Order { model, worn, settings, .. } = &orders[0];
    let prompts: Vec<Prompt> = orders.iter().flat_map(|order| order.prompts.clone()).collect();
    let model = load(models, loaded, device, model)?;
    model.wear(worn)?;
    let mut go_on = |_, _| if wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let mut files = Vec::with_capacity(prompts.len());
    for prompts in prompts.chunks(batch) {
        let images = model
            .pipeline
            .generate(prompts, settings, &mut go_on)
            .map_err(|error| match error {
                diffusion::Error::Setting { field, problem } => Refusal::Setting { field, problem },
                error => Refusal::Failed(error.to_string()),
            })?
            .ok_or(Refusal::Stopping)?;
        let verdicts = checker.map(|checker| checker.check(&images)).transpose();
        let verdicts = verdicts.map_err(|error| Refusal::Failed(error.to_string()))?;
        for (i, image) in images.iter().enumerate() {
            let flagged = verdicts.as_ref().is_some_and(|verdicts| verdicts[i].is_unsafe());
            let file = (!flagged).then(|| png(image)).transpose();
            files.push(file.map_err(|error| Refusal::Failed(error.to_string()))?);
        }
    }
    Ok(files)
}

/// The model, from memory or from its files; the least recently used one makes room.
fn load<'a>(
    models: &'a mut Vec<Loaded>,
    loaded: usize,
    device: &Device,
    files: &ModelFiles,
) -> Result<&'a mut Loaded, Refusal> {
    let model = match models.iter().position(|known| known.files == *files) {
        Some(index) => models.remove(index),
        None => {
            let excess = (models.len() + 1).saturating_sub(loaded);
            models.drain(..excess);
            let began = Instant::now();
            let pipeline = TextToImage::open(&files.folders(), device)
                .map_err(|error| Refusal::Model(unreadable(files, &error.to_string())))?;
            tracing::info!(model = files.name, seconds = began.elapsed().as_secs_f64(), "loaded");
            Loaded { files: files.clone(), pipeline, worn: Vec::new(), adapters: Vec::new() }
        }
    };
    models.push(model);
    models.last_mut().ok_or_else(|| Refusal::Failed("no model".into()))
}

impl Loaded {
    /// Puts adapters on in place of those it wears.
    fn wear(&mut self, wanted: &[Worn]) -> Result<(), Refusal> {
        if self.worn == wanted {
            return Ok(());
        }
        let refused = |worn: &Worn, error: &diffusion::Error| {
            let problem = error.to_string().replace(&worn.file.display().to_string(), &worn.name);
            Refusal::Setting {
                field: "lora",
                problem: format!("adapter {:?} cannot be used: {problem}", worn.name),
            }
        };
        for worn in wanted {
            let known = self.adapters.iter().position(|(known, _)| known.sha256 == worn.sha256);
            let adapter = match known {
                Some(index) => self.adapters.remove(index).1,
                None => self.pipeline.read_adapter(&worn.file).map_err(|error| refused(worn, &error))?,
            };
            self.adapters.push((worn.clone(), adapter));
        }
        let excess = self.adapters.len().saturating_sub(KEPT_ADAPTERS.max(wanted.len()));
        self.adapters.drain(..excess);
        let adapters: Vec<(&Adapter, f64)> = wanted
            .iter()
            .filter_map(|worn| {
                let (_, adapter) = self.adapters.iter().find(|(known, _)| known.sha256 == worn.sha256)?;
                Some((adapter, worn.scale))
            })
            .collect();
        self.pipeline.apply_adapters(&adapters).map_err(|error| Refusal::Failed(error.to_string()))?;
        self.worn = wanted.to_vec();
        Ok(())
    }
}

/// Names file and tensor, but not where on this machine the folder lies.
pub(crate) fn unreadable(files: &ModelFiles, problem: &str) -> String {
    let mut problem = problem.replace(&files.folder.display().to_string(), &files.name);
    for base in &files.bases {
        problem = problem.replace(&base.display().to_string(), "its base");
    }
    format!("Model {:?} cannot be used: {problem}. Restore its files; the other models go on.", files.name)
}

fn png(image: &RgbImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Hands each order its own images.
fn deliver(batch: Vec<Ticket>, outcome: Result<Vec<Option<Vec<u8>>>, Refusal>, seconds: f64) {
    let mut images = outcome.map(Vec::into_iter);
    for Ticket { order, answer, .. } in batch {
        let drawn = match &mut images {
            Ok(images) => Ok(Drawn { images: images.take(order.prompts.len()).collect(), seconds }),
            Err(refusal) => Err(refusal.clone()),
        };
        // A client that left meanwhile is no error.
        drop(answer.send(drawn));
    }
}
