//! Reading and writing adapter files.

use super::adapter::{Adapter, DOWN, UP};
use super::layers::Layers;
use super::metadata::{self, Settings};
use super::network::Network;
use super::tensor_name::{LayerName, PEFT_PREFIX, TensorKind, TensorName};
use crate::nn::{Factor, LowRank};
use crate::torch_file::{Dtype, StoredTensor, WeightsFile, type_problem};
use crate::weights::refuse_not_finite;
use crate::{Error, Result, config};
use candle_core::{DType, Device, Tensor};
use files::write_atomically;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The updates of an adapter file, by network.
pub type Adapters = BTreeMap<Network, Adapter>;

/// The file name under which diffusers looks for an adapter.
pub const WEIGHTS_FILE: &str = "pytorch_lora_weights.safetensors";

/// The tensors of one layer, each with its name in the file.
#[derive(Default)]
struct LayerTensors {
    down: Option<(String, Tensor)>,
    up: Option<(String, Tensor)>,
    alpha: Option<f64>,
    /// The name of the first tensor, for error messages.
    first_name: String,
}

/// Reads an adapter file for the networks of a model, all of which must be in `networks`.
///
/// # Errors
/// Fails if the file is damaged, or a tensor is unknown, missing, of another shape or type, not finite, or of a network that
/// is not in `networks`.
pub fn open(file: &Path, networks: &BTreeMap<Network, Layers>) -> Result<Adapters> {
    let stored = Stored::open(file)?;
    let entry = match stored.file.metadata(metadata::ENTRY) {
        None if stored.tensors.keys().any(|name| name.starts_with(PEFT_PREFIX)) => {
            // PEFT stores alpha only in this file. Without it, the updates would be scaled wrongly.
            let settings = file.with_file_name(metadata::PEFT_FILE);
            Some(config::read_text(&settings)?)
        }
        entry => entry.map(str::to_owned),
    };
    let found = stored.group_by_layer(networks)?;
    if found.is_empty() {
        return Err(Error::format(file, "has no LoRA tensors"));
    }
    let mut settings = BTreeMap::new();
    for &network in networks.keys() {
        let read = entry.as_deref().map(|text| Settings::read(text, network)).transpose();
        settings.insert(network, read.map_err(|e| Error::format(file, e))?.unwrap_or_default());
    }
    let mut adapters: BTreeMap<Network, BTreeMap<String, LowRank>> = BTreeMap::new();
    for ((network, layer), tensors) in found {
        let weight = networks[&network].shape(layer).unwrap_or_default();
        let update = tensors.into_update(file, layer, &settings[&network], weight)?;
        adapters.entry(network).or_default().insert(layer.to_owned(), update);
    }
    Ok(adapters.into_iter().map(|(network, updates)| (network, Adapter::new(updates))).collect())
}

/// The networks that an adapter file updates, by the names of its tensors.
///
/// # Errors
/// Fails if the file is damaged, or a tensor is unknown.
pub fn networks_of(file: &Path) -> Result<BTreeSet<Network>> {
    let stored = Stored::open(file)?;
    let network = |name: &String| stored.parse(name).map(|name| name.network);
    stored.tensors.keys().map(network).collect()
}

/// Checks an adapter file as [`open`] does, without a model: whether its layers exist and fit is not known. Returns how many
/// layers of each network it updates.
///
/// # Errors
/// As [`open`].
pub fn verify(file: &Path) -> Result<BTreeMap<Network, usize>> {
    let stored = Stored::open(file)?;
    let mut factors: BTreeMap<(Network, String), [Vec<usize>; 2]> = BTreeMap::new();
    for (name, tensor) in &stored.tensors {
        let TensorName { network, layer: LayerName::Dotted(layer) | LayerName::Flat(layer), kind } =
            stored.parse(name)?;
        let [down, up] = factors.entry((network, layer)).or_default();
        match kind {
            TensorKind::Factor(Factor::Down) => *down = tensor.shape().to_vec(),
            TensorKind::Factor(Factor::Up) => *up = tensor.shape().to_vec(),
            TensorKind::Alpha => {}
        }
    }
    let mut layers: BTreeMap<Network, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
    for ((network, layer), [down, up]) in factors {
        // The weight that the factors would fit.
        let mut weight = if matches!(down.len(), 2 | 4) { down } else { vec![0, 0] };
        weight[0] = up.first().copied().unwrap_or_default();
        layers.entry(network).or_default().insert(layer, weight);
    }
    let networks = layers.into_iter().map(|(network, layers)| (network, Layers::named(layers))).collect();
    let adapters = open(file, &networks)?;
    Ok(adapters.into_iter().map(|(network, adapter)| (network, adapter.layers().len())).collect())
}

/// Whether a file has tensors of an adapter, of any kind and under any of the names that are known.
///
/// # Errors
/// Fails if the file is damaged.
pub fn is_adapter(file: &WeightsFile) -> Result<bool> {
    let listing = file.list(file.state_dict_root())?;
    let is_factor =
        |name: &str| TensorName::parse(name).is_ok_and(|name| matches!(name.kind, TensorKind::Factor(_)));
    Ok(listing.tensors.iter().any(|(name, _)| is_factor(name)))
}

/// The settings file that PEFT writes beside an adapter and that [`open`] needs, if the names are PEFT's own and the header
/// has no settings.
///
/// # Errors
/// Fails if the file is damaged.
pub fn settings_file(file: &Path) -> Result<Option<PathBuf>> {
    let stored = Stored::open(file)?;
    let is_needed = stored.file.metadata(metadata::ENTRY).is_none()
        && stored.tensors.keys().any(|name| name.starts_with(PEFT_PREFIX));
    Ok(is_needed.then(|| file.with_file_name(metadata::PEFT_FILE)))
}

/// An open adapter file.
struct Stored<'a> {
    path: &'a Path,
    file: WeightsFile,
    tensors: BTreeMap<String, StoredTensor>,
}

impl<'a> Stored<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = WeightsFile::open(path)?;
        let listing = file.list(file.state_dict_root())?;
        if let Some((name, problem)) = listing.unreadable.first() {
            return Err(Error::tensor(path.display(), name, problem));
        }
        listing.refuse_scaled(path)?;
        Ok(Self { path, file, tensors: listing.tensors.into_iter().collect() })
    }

    fn bad(&self, name: &str, problem: impl ToString) -> Error {
        Error::tensor(self.path.display(), name, problem)
    }

    fn parse(&self, name: &str) -> Result<TensorName> {
        TensorName::parse(name).map_err(|problem| self.bad(name, problem))
    }

    /// Assigns the tensors to the layers of the networks.
    fn group_by_layer<'b>(
        &self,
        networks: &'b BTreeMap<Network, Layers>,
    ) -> Result<BTreeMap<(Network, &'b str), LayerTensors>> {
        let flat_names: HashMap<Network, HashMap<String, &str>> =
            networks.iter().map(|(&network, layers)| (network, layers.flat_names())).collect();
        let mut found: BTreeMap<(Network, &str), LayerTensors> = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let TensorName { network, layer, kind } = self.parse(name)?;
            let layers = networks.get(&network).ok_or_else(|| {
                self.bad(name, format!("updates {network}, which this model does not have"))
            })?;
            let layer = match &layer {
                LayerName::Dotted(layer) => layers.find(layer),
                LayerName::Flat(layer) => flat_names[&network].get(layer).copied(),
            };
            let layer = layer.ok_or_else(|| {
                let problem = format!(
                    "updates no layer of this model's {network}: the adapter is for another kind of model"
                );
                self.bad(name, problem)
            })?;
            let found = found.entry((network, layer)).or_default();
            if found.first_name.is_empty() {
                found.first_name.clone_from(name);
            }
            let is_duplicate = match kind {
                TensorKind::Factor(factor) => {
                    let value = (name.clone(), self.factor(name, tensor)?);
                    let slot = if factor == Factor::Down { &mut found.down } else { &mut found.up };
                    slot.replace(value).is_some()
                }
                TensorKind::Alpha => found.alpha.replace(self.alpha(name, tensor)?).is_some(),
            };
            if is_duplicate {
                return Err(self.bad(name, format!("updates {layer}, which another tensor updates too")));
            }
        }
        Ok(found)
    }

    fn factor(&self, name: &str, tensor: &StoredTensor) -> Result<Tensor> {
        let value = self.file.load_tensor(name, tensor, DType::F32)?;
        refuse_not_finite(&self.path.display().to_string(), name, &value)?;
        Ok(value)
    }

    /// The value of an alpha. Unlike a weight, it may be an integer.
    fn alpha(&self, name: &str, tensor: &StoredTensor) -> Result<f64> {
        if tensor.shape().iter().product::<usize>() != 1 {
            return Err(self.bad(name, "is not a single number"));
        }
        let alpha = if type_problem(tensor.dtype()).is_none() {
            self.file.load_tensor(name, tensor, DType::F64)?.flatten_all()?.to_vec1::<f64>()?[0]
        } else {
            let mut bytes = vec![];
            self.file.read(tensor, &mut |portion| {
                bytes.extend_from_slice(portion);
                Ok(())
            })?;
            integer(tensor.dtype(), &bytes)
                .ok_or_else(|| self.bad(name, type_problem(tensor.dtype()).unwrap_or_default()))?
        };
        if alpha.is_finite() {
            Ok(alpha)
        } else {
            Err(self.bad(name, format!("is {alpha}, which is not finite")))
        }
    }
}

/// The number in these little-endian bytes of an integer type; `None` for other types.
fn integer(dtype: Dtype, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        Dtype::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        Dtype::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        _ => return None,
    })
}

impl LayerTensors {
    /// The update of `layer`, whose weight has shape `weight`.
    fn into_update(self, file: &Path, layer: &str, settings: &Settings, weight: &[usize]) -> Result<LowRank> {
        let missing = |what: &str| {
            Error::tensor(file.display(), &self.first_name, format!("has no matching {what} for {layer}"))
        };
        let (down_name, down) = self.down.as_ref().ok_or_else(|| missing("lora_A (down)"))?;
        let (up_name, up) = self.up.as_ref().ok_or_else(|| missing("lora_B (up)"))?;
        let rank = down.dims().first().copied().unwrap_or_default();
        let alpha = self.alpha.unwrap_or_else(|| settings.alpha(layer, rank));
        LowRank::new(down, up, alpha, weight).map_err(|error| {
            let name = if error.factor == Factor::Down { down_name } else { up_name };
            Error::tensor(file.display(), name, error.problem)
        })
    }
}

/// Writes adapters, atomically, as diffusers' `load_lora_weights` reads them: PEFT's names with the network's prefix, and
/// PEFT's settings in the header.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn save(adapters: &Adapters, file: &Path) -> Result<()> {
    let mut tensors = Vec::new();
    for (network, adapter) in adapters {
        for (layer, update) in adapter.layers() {
            for (suffix, factor) in [(DOWN, update.down()), (UP, update.up())] {
                let value = factor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
                tensors.push((format!("{network}.{layer}{suffix}"), value));
            }
        }
    }
    // Only one entry, because the library writes several in an order that differs from run to run.
    let header = HashMap::from([(metadata::ENTRY.to_owned(), metadata::text(adapters))]);
    let bytes = safetensors::serialize(tensors, Some(header)).map_err(|e| Error::format(file, e))?;
    Ok(write_atomically(file, &bytes)?)
}
