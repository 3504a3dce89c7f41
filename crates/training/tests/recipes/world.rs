//! The model, encoded set and schedule of a spec, as at the start of a run.

use candle_core::{Device, Tensor};
use diffusion::config::VaeConfig;
use diffusion::part_folders::PartFolders;
use diffusion::schedule::Schedule;
use domain::train::TrainSpec;
use tempfile::TempDir;
use training::data::batch::Batches;
use training::data::encoded::EncodedSet;

/// Everything that a run needs to deal micro-batches.
pub(crate) struct World {
    pub(crate) folders: PartFolders,
    pub(crate) spec: TrainSpec,
    pub(crate) set: EncodedSet,
    pub(crate) schedule: Schedule,
    pub(crate) vae: VaeConfig,
    _cache: TempDir,
}

impl World {
    /// Encodes the set of `text`, a spec in TOML.
    pub(crate) fn new(folders: PartFolders, text: &str, with_clip: bool) -> Self {
        let spec: TrainSpec = toml::from_str(text).expect("a spec");
        spec.validate().expect("valid");
        let cache = tempfile::tempdir().expect("a folder");
        let prepare = |report: &mut dyn FnMut(usize, usize) -> anyhow::Result<()>| {
            let (image, cpu) = (spec.image(), Device::Cpu);
            EncodedSet::prepare(&spec.data, &image, &folders, with_clip, cache.path(), &cpu, report)
        };
        let set = prepare(&mut |_, _| Ok(())).expect("encodes");
        let schedule = folders.schedule().expect("a schedule");
        let vae = folders.part("vae").expect("a VAE").join("config.json");
        let vae = VaeConfig::read(&vae).expect("a config");
        Self { folders, spec, set, schedule, vae, _cache: cache }
    }

    pub(crate) fn batches(&self) -> Batches<'_> {
        Batches::new(&self.set, &self.spec, &self.schedule, &self.vae, &Device::Cpu).expect("batches")
    }
}

pub(crate) fn numbers(t: &Tensor) -> Vec<f32> {
    t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")
}
