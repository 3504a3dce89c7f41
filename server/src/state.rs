//! The state that every handler shares.

use crate::config::Config;
use crate::events::Events;
use crate::generator::Generator;
use crate::hosts::Hosts;
use crate::image_work::ImageWork;
use crate::judged::{Judgements, prepare};
use crate::routes::shown_settings;
use crate::stopping::Stopping;
use catalogue::dataset_catalogue::DatasetCatalogue;
use catalogue::models::Catalogue;
use catalogue::models_folder::ModelsFolder;
use datasets::prompt_filter::PromptFilter;
use domain::api::ServerSettings;
use domain::data::PromptFilterSpec;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Artifacts, Store, Waits};

/// Megapixel-steps of a request on a CPU: one image of 1024 x 1024 pixels with 30 steps.
const LARGEST_REQUEST_CPU: u32 = 32;
/// On a GPU: four of them with 120 steps.
const LARGEST_REQUEST_GPU: u32 = 512;

/// Handles and settings shared by all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    pub(crate) store: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) generator: Generator,
    pub(crate) stopping: Stopping,
    pub(crate) events: Events,
    pub(crate) catalogue: Catalogue,
    pub(crate) judgements: Judgements,
    pub(crate) datasets: Arc<DatasetCatalogue>,
    /// One at a time: checks of data sets decode images on all cores.
    pub(crate) data_checks: ImageWork,
    /// Pairs of sets that are read or drawn for a page.
    pub(crate) browsing: ImageWork,
    /// Exports with images. A slow client holds one for long, so browsing does not wait for them.
    pub(crate) exports: ImageWork,
    pub(crate) prompt_filter: Arc<PromptFilter>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) access_token: Option<Arc<str>>,
    /// None: the one that `routes::models::default_model` chooses.
    pub(crate) default_model: Option<Arc<str>>,
    pub(crate) largest_side: u32,
    /// Most megapixel-steps of a generation request.
    pub(crate) largest_request: f64,
    /// Time after which a generation request is given up.
    pub(crate) generation_timeout: Duration,
    /// Time without progress after which the generator counts as stuck.
    pub(crate) generator_stall: Duration,
    /// What the Settings page shows.
    pub(crate) settings: Arc<ServerSettings>,
    pub(crate) site: Arc<Path>,
    pub(crate) static_files: Arc<Path>,
}

impl AppState {
    /// Computes what would keep the first requests waiting: the ratings from many votes.
    pub async fn prepare(self) {
        prepare(&self).await;
    }

    /// Opens the database and the artifact store, registers the models of the models folder, and starts the generator.
    ///
    /// # Errors
    /// Fails if the database, a folder, the device or the safety checker cannot be opened.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let store = Store::open(&config.database_url, Waits::REQUESTS).await?;
        let artifacts = Artifacts::open(&config.artifacts)?;
        let models = ModelsFolder::register(&store, &config.models).await?;
        let catalogue = Catalogue { store: store.clone(), artifacts: artifacts.clone(), models };
        let generator = Generator::start(
            config.device,
            config.queue_size as usize,
            config.loaded_models as usize,
            config.batch_size.map(|size| size as usize),
            config.checker(),
        )?;
        let largest_request = if generator.is_cpu() { LARGEST_REQUEST_CPU } else { LARGEST_REQUEST_GPU };
        let largest_request = f64::from(config.largest_request.unwrap_or(largest_request));
        Ok(Self {
            settings: Arc::new(shown_settings(config, generator.is_cpu(), largest_request)),
            events: Events::new(store.clone()),
            store,
            artifacts,
            generator,
            stopping: Stopping::new(),
            catalogue,
            judgements: Judgements::default(),
            data_checks: ImageWork::new(1, "Another check is running."),
            browsing: ImageWork::new(2, "Other requests are reading or drawing images of data sets."),
            exports: ImageWork::new(4, "Other exports are running."),
            prompt_filter: Arc::new(PromptFilter::new(&PromptFilterSpec {
                built_in: config.prompt_filter,
                terms: config.refused_terms.clone(),
            })),
            datasets: Arc::new(DatasetCatalogue::new(&config.datasets)),
            hosts: Arc::new(Hosts::new(config.listen.ip(), &config.allowed_hosts)),
            access_token: config.token().map(Arc::from),
            default_model: config.default_model.as_deref().filter(|name| !name.is_empty()).map(Arc::from),
            largest_side: config.largest_side,
            largest_request,
            generation_timeout: Duration::from_secs(config.generation_timeout.into()),
            generator_stall: Duration::from_secs(config.generator_stall.into()),
            site: config.site.as_path().into(),
            static_files: config.static_files.as_path().into(),
        })
    }

    /// Ends the streams of events: they have no end of their own that the server could wait for.
    pub fn end_streams(&self) {
        self.events.end();
    }

    /// Stops the generator, and answers every request that is still unanswered with a 503.
    pub fn abandon_requests(&self) {
        self.generator.stop();
        self.stopping.begin();
    }

    /// Stops the generator, which rejects its queue, and closes the database.
    pub async fn close(self) {
        self.generator.stop();
        self.store.close().await;
    }
}
