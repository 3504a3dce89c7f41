//! A folder in diffusers layout: its parts, its index, and whether its weights are whole.

use crate::clip::TextTower;
use crate::config::{self, ClipTextConfig};
use crate::pipeline::Folders;
use crate::unet::Unet;
use crate::vae::Autoencoder;
use crate::weights::{PartFiles, Stem, StoredWeights, save_streamed, shapes_of, write_atomically};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that makes a folder a model.
pub const MODEL_INDEX: &str = "model_index.json";
/// The file beside it that says where an imported model came from.
pub const ORIGIN: &str = "origin.json";
/// The noise schedule's file.
pub const SCHEDULE: &str = "scheduler/scheduler_config.json";
/// The second text tower's projection of the pooled state.
const PROJECTION: &str = "text_projection.weight";

/// Where a model came from: `origin.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// A path, or a repository's name.
    pub source: String,
    /// The repository's commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The name of the model, in the same models folder, that has the parts that this one lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

impl Origin {
    /// What a folder says of itself, if it says so.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join(ORIGIN);
        if file.is_file() { config::read(&file).map(Some) } else { Ok(None) }
    }

    /// The folder with the parts that `folder` lacks, where it names a base: a neighbour in the same folder of models.
    ///
    /// # Errors
    /// The file that says so is damaged.
    pub fn base_of(folder: &Path) -> Result<Option<PathBuf>> {
        let base = Self::read(folder)?.and_then(|origin| origin.base);
        Ok(base.map(|base| folder.parent().unwrap_or(Path::new(".")).join(base)))
    }

    /// Whether a folder is a model: a whole one in diffusers layout, or a UNet that names its base.
    #[must_use]
    pub fn is_model(folder: &Path) -> bool {
        folder.join(MODEL_INDEX).is_file()
            || Self::read(folder).is_ok_and(|origin| origin.is_some_and(|origin| origin.base.is_some()))
    }
}

/// The networks of a model, and what their weights files are called.
pub const PARTS: [(&str, Stem); 4] = [
    ("text_encoder", Stem::TRANSFORMER),
    ("text_encoder_2", Stem::TRANSFORMER),
    ("unet", Stem::NETWORK),
    ("vae", Stem::NETWORK),
];

/// `model_index.json` of a pipeline of this class, without a safety checker.
#[must_use]
pub fn model_index(class: &str, sampler: &str, version: &str) -> Value {
    let mut index = json!({
        "_class_name": class,
        "_diffusers_version": version,
        "scheduler": ["diffusers", sampler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "feature_extractor": [null, null],
    });
    if class.contains("XL") {
        index["force_zeros_for_empty_prompt"] = json!(true);
        index["image_encoder"] = json!([null, null]);
        index["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
        index["tokenizer_2"] = json!(["transformers", "CLIPTokenizer"]);
    } else {
        index["requires_safety_checker"] = json!(false);
        index["safety_checker"] = json!([null, null]);
    }
    index
}

/// What a part's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Tensors.
    pub tensors: usize,
    /// Numbers in them.
    pub numbers: u64,
    /// Their type, or types, as safetensors names them.
    pub types: String,
    /// The weights file, or the index of the shards.
    pub file: String,
}

/// Reads a part wholly, a tensor at a time: its config, that its weights are those that the config asks for, and that
/// every number of them is one. `report` hears of numbers done, of all, and can stop with an error.
///
/// # Errors
/// What is wrong, by file and tensor.
pub fn look_through(
    folder: &Path,
    part: &str,
    stem: Stem,
    report: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Looked> {
    let (stored, wanted) = open(folder, part, stem)?;
    let all = wanted.values().map(|shape| shape.iter().product::<usize>() as u64).sum();
    let (mut done, mut types) = (0, BTreeMap::new());
    for (name, shape) in &wanted {
        let values = stored.read(name, shape, candle_core::DType::F32)?.flatten_all()?;
        // A sum of squares of what is finite is finite in f64.
        let sum = values.sqr()?.to_dtype(candle_core::DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        if !sum.is_finite() {
            let problem = "has numbers that are not finite: copy or download it again".to_owned();
            return Err(Error::tensor(stored.origin().to_owned(), name.clone(), problem));
        }
        if let Some((_, tensor)) = stored.get(name) {
            *types.entry(format!("{:?}", tensor.dtype())).or_insert(0) += 1;
        }
        done += shape.iter().product::<usize>() as u64;
        report(done, all)?;
    }
    let types = types.into_keys().collect::<Vec<_>>().join(" and ");
    let file = Path::new(stored.origin()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Looked { tensors: wanted.len(), numbers: all, types, file })
}

/// Writes a part anew: its config as it is, its weights in one file, in `dtype`, under today's names, a tensor at a time.
/// `report` hears of numbers done, of all, and can stop with an error.
///
/// # Errors
/// What is wrong with the part, by file and tensor, or it cannot be written.
pub fn copy_part(
    from: &Path,
    to: &Path,
    part: &str,
    stem: Stem,
    dtype: candle_core::DType,
    report: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    let (stored, wanted) = open(from, part, stem)?;
    let config = from.join("config.json");
    let config = std::fs::read(&config).map_err(|e| Error::file(&config, e))?;
    write_atomically(&to.join("config.json"), &config)?;
    let all = wanted.values().map(|shape| shape.iter().product::<usize>() as u64).sum();
    let mut done = 0;
    save_streamed(&wanted, dtype, &to.join(&stem.names()[0]), &mut |name, shape| {
        done += shape.iter().product::<usize>() as u64;
        report(done, all)?;
        stored.read(name, shape, dtype)
    })
}

/// Writes the UNet of a model as [`copy_part`] writes a part, with the adapters of the model fused into it. All of it is in
/// memory meanwhile.
///
/// # Errors
/// The UNet or an adapter is damaged, they do not fit together, or it cannot be written.
pub fn write_fused(folders: &Folders, to: &Path, dtype: candle_core::DType) -> Result<()> {
    let config = folders.part("unet")?.join("config.json");
    let config = std::fs::read(&config).map_err(|e| Error::file(&config, e))?;
    let (_, weights) = folders.unet(&candle_core::Device::Cpu)?;
    write_atomically(&to.join("config.json"), &config)?;
    let shapes = weights.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    save_streamed(&shapes, dtype, &to.join(&Stem::NETWORK.names()[0]), &mut |name, _| {
        Ok(weights[name].to_dtype(dtype)?)
    })
}

/// A part's weights, held to its config, and what it asks for.
fn open(folder: &Path, part: &str, stem: Stem) -> Result<(StoredWeights, BTreeMap<String, Vec<usize>>)> {
    let stored = StoredWeights::open(&PartFiles::locate(folder, stem)?)?;
    let (stored, wanted) = match part {
        "unet" => {
            let config = Unet::config_of(folder)?;
            (stored, shapes_of(|scope| Unet::new(scope, config).map(drop))?)
        }
        "vae" => {
            let config = config::VaeConfig::read(&folder.join("config.json"))?;
            (Autoencoder::adapt(stored)?, shapes_of(|scope| Autoencoder::new(scope, config).map(drop))?)
        }
        _ => (TextTower::adapt(stored)?, text_tower(folder)?),
    };
    stored.check(&wanted)?;
    Ok((stored, wanted))
}

/// What a text tower's config asks for; a tower with a projection has it beside.
fn text_tower(folder: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    let file = folder.join("config.json");
    let config: ClipTextConfig = config::read(&file)?;
    let class: Value = config::read(&file)?;
    let projection = vec![config.projection_dim, config.hidden_size];
    let mut wanted = shapes_of(|scope| TextTower::new(scope, config).map(drop))?;
    if class["architectures"][0] == "CLIPTextModelWithProjection" {
        wanted.entry(PROJECTION.to_owned()).or_insert(projection);
    }
    Ok(wanted)
}
