//! The state that every handler shares.

use crate::config::Config;
use crate::generator::Generator;
use crate::hosts::Hosts;
use crate::stopping::Stopping;
use catalogue::dataset_catalogue::DatasetCatalogue;
use catalogue::models::Catalogue;
use catalogue::models_folder::ModelsFolder;
use datasets::prompt_filter::PromptFilter;
use domain::data::PromptFilterSpec;
use std::path::Path;
use std::sync::Arc;
use store::{Artifacts, Store};
use tokio::sync::Semaphore;

/// Handles and settings shared by all requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppState {
    pub(crate) store: Store,
    pub(crate) artifacts: Artifacts,
    pub(crate) generator: Generator,
    pub(crate) stopping: Stopping,
    pub(crate) catalogue: Catalogue,
    pub(crate) datasets: Arc<DatasetCatalogue>,
    /// One permit: checks of data sets decode images on all cores.
    pub(crate) data_checks: Arc<Semaphore>,
    pub(crate) prompt_filter: Arc<PromptFilter>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) access_token: Option<Arc<str>>,
    /// None: the one that `routes::models::default_model` chooses.
    pub(crate) default_model: Option<Arc<str>>,
    pub(crate) largest_side: u32,
    pub(crate) site: Arc<Path>,
    pub(crate) static_files: Arc<Path>,
}

impl AppState {
    /// Opens the database and the artifact store, registers the models of the models folder, and starts the generator.
    ///
    /// # Errors
    /// Fails if the database, a folder, the device or the safety checker cannot be opened.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let store = Store::connect(&config.database_url).await?;
        let artifacts = Artifacts::open(&config.artifacts)?;
        let models = ModelsFolder::register(&store, &config.models).await?;
        let catalogue = Catalogue { store: store.clone(), artifacts: artifacts.clone(), models };
        Ok(Self {
            store,
            artifacts,
            generator: Generator::start(
                config.device,
                config.queue_size as usize,
                config.loaded_models as usize,
                config.batch_size.map(|size| size as usize),
                config.checker(),
            )?,
            stopping: Stopping::new(),
            catalogue,
            data_checks: Arc::new(Semaphore::new(1)),
            prompt_filter: Arc::new(PromptFilter::new(&PromptFilterSpec {
                built_in: config.prompt_filter,
                terms: config.refused_terms.clone(),
            })),
            datasets: Arc::new(DatasetCatalogue::new(&config.datasets)),
            hosts: Arc::new(Hosts::new(config.listen.ip(), &config.allowed_hosts)),
            access_token: config.token().map(Arc::from),
            default_model: config.default_model.as_deref().filter(|name| !name.is_empty()).map(Arc::from),
            largest_side: config.largest_side,
            site: config.site.as_path().into(),
            static_files: config.static_files.as_path().into(),
        })
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
