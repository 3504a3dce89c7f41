//! The folders that hold the parts of a model: its own, and those of the models it is derived from.

use crate::layout::SCHEDULE;
use crate::lora::{self, Adapter, Layers, Network};
use crate::schedule::Schedule;
use crate::text_tower::{self, AdaptableTower};
use crate::unet::Unet;
use crate::weights::{Weights, parameter_shapes};
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::collections::BTreeMap;
use std::iter;
use std::path::{Path, PathBuf};

/// A model's own folder and the folders of its bases, in diffusers layout. Each part of the model is in the first of these
/// folders that has it.
#[derive(Clone, Debug)]
pub struct PartFolders {
    folder: PathBuf,
    /// Nearest first.
    bases: Vec<PathBuf>,
    /// Parts that are in none of the folders, by name.
    elsewhere: BTreeMap<&'static str, PathBuf>,
}

impl PartFolders {
    /// A model in `folder`, whose missing parts are in `base`.
    #[must_use]
    pub fn new(folder: &Path, base: Option<&Path>) -> Self {
        Self::with_bases(folder, base.map(Path::to_owned).into_iter().collect())
    }

    /// A model in `folder`, whose missing parts are in `bases`, nearest first: the models it is derived from. Adapters in
    /// folders before the first UNet are fused into that UNet.
    #[must_use]
    pub fn with_bases(folder: &Path, bases: Vec<PathBuf>) -> Self {
        Self { folder: folder.to_owned(), bases, elsewhere: BTreeMap::new() }
    }

    /// The same model with a part of another folder, in place of its own.
    #[must_use]
    pub fn with_part(mut self, name: &'static str, folder: PathBuf) -> Self {
        self.elsewhere.insert(name, folder);
        self
    }

    /// The model's own folder.
    #[must_use]
    pub fn own(&self) -> &Path {
        &self.folder
    }

    /// The path of a part (`unet`, `vae`, ...) or file.
    ///
    /// # Errors
    /// Fails if none of the folders has it.
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        if let Some(folder) = self.elsewhere.get(name) {
            return Ok(folder.clone());
        }
        self.all().map(|folder| folder.join(name)).find(|path| path.exists()).ok_or_else(|| {
            Error::format(
                &self.folder.join(name),
                "is missing: the folder is not a complete model in diffusers layout",
            )
        })
    }

    /// The model's own folder, then its bases, nearest first.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        iter::once(&self.folder).chain(&self.bases)
    }

    /// Reads the noise schedule.
    ///
    /// # Errors
    /// Fails if it is missing or not supported.
    pub fn schedule(&self) -> Result<Schedule> {
        Schedule::load(&self.part(SCHEDULE)?)
    }

    /// The adapter files in folders before the first UNet, in the order in which they are fused.
    #[must_use]
    pub fn adapters(&self) -> Vec<PathBuf> {
        let before_unet = self.all().take_while(|folder| !folder.join("unet").exists());
        let mut files: Vec<PathBuf> =
            before_unet.map(|folder| folder.join(lora::WEIGHTS_FILE)).filter(|file| file.is_file()).collect();
        files.reverse();
        files
    }

    /// As [`PartFolders::adapters`], only those that update this network.
    ///
    /// # Errors
    /// Fails if a file is damaged.
    pub fn adapters_of(&self, network: Network) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for file in self.adapters() {
            if lora::networks_of(&file)?.contains(&network) {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// Checks that the model's adapters can be read and fit its networks, by its configs alone.
    ///
    /// # Errors
    /// Names the file and the tensor.
    pub fn check_adapters(&self) -> Result<()> {
        let layers = self.layers()?;
        self.adapters().iter().try_for_each(|file| lora::open(file, &layers).map(drop))
    }

    /// The layers of the model's networks that adapters can update, read from the configs.
    fn layers(&self) -> Result<BTreeMap<Network, Layers>> {
        let mut networks = BTreeMap::new();
        for network in Network::ALL {
            let Ok(folder) = self.part(network.as_str()) else { continue };
            let shapes = match network {
                Network::Unet => {
                    let config = Unet::config_of(&folder)?;
                    parameter_shapes(|scope| Unet::new(scope, config).map(drop))?
                }
                encoder => text_tower::shapes(&folder, encoder == Network::TextEncoder2)?,
            };
            let shapes = shapes.iter().map(|(name, shape)| (name.as_str(), &shape[..]));
            networks.insert(network, Layers::of_shapes(shapes));
        }
        Ok(networks)
    }

    /// Loads the UNet, frozen and with the model's adapters fused into it, and its parameters by name.
    ///
    /// # Errors
    /// Fails if the UNet or an adapter is missing or damaged, or an adapter does not fit the model.
    pub fn unet(&self, device: &Device) -> Result<(Unet, Weights)> {
        let folder = self.part("unet")?;
        let (unet, mut weights) = Unet::load_with_weights(&folder, device)?;
        let files = self.adapters();
        if files.is_empty() {
            return Ok((unet, weights));
        }
        let layers = self.layers()?;
        for file in files {
            if let Some(adapter) = lora::open(&file, &layers)?.get(&Network::Unet) {
                adapter.to(device)?.fuse(1.0, &mut weights)?;
            }
        }
        let config = unet.config().clone();
        drop(unet);
        Ok((Unet::of_weights(config, &weights, &Adapter::default(), DType::F32, device)?, weights))
    }

    /// Loads the text encoder in the folder `part`, with the model's adapters fused into it, computing in `dtype`.
    ///
    /// # Errors
    /// As [`PartFolders::unet`].
    pub fn text_tower(&self, part: &str, device: &Device, dtype: DType) -> Result<AdaptableTower> {
        let network = Network::of_part(part).unwrap_or(Network::TextEncoder);
        let has_projection = network == Network::TextEncoder2;
        let mut tower = AdaptableTower::load(&self.part(part)?, has_projection, device, dtype)?;
        let files = self.adapters_of(network)?;
        if files.is_empty() {
            return Ok(tower);
        }
        let layers = self.layers()?;
        for file in files {
            if let Some(adapter) = lora::open(&file, &layers)?.get(&network) {
                tower.fuse(&adapter.to(device)?)?;
            }
        }
        Ok(tower)
    }
}
