//! Parameters: read from a safetensors file or drawn from a seed, checked by name and shape, and written back.

use crate::lora::Adapter;
use crate::nn::LowRank;
use crate::noise::Noise;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

/// How a parameter begins when a network is trained from nothing.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// The same value everywhere.
    Constant(f64),
    /// Normal with this deviation.
    Normal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
}

impl Init {
    /// PyTorch's default for linear layers and convolutions: uniform within 1 / sqrt(fan in).
    #[must_use]
    pub fn fan_in(n: usize) -> Self {
        Self::Uniform(1.0 / (n as f64).sqrt())
    }
}

/// What a network is built from.
#[derive(Debug)]
pub struct Parameters {
    origin: String,
    source: Source,
    trainable: bool,
    device: Device,
    dtype: DType,
    adapter: Option<Adapter>,
    taken: Mutex<BTreeMap<String, Tensor>>,
    variables: Mutex<Variables>,
}

#[derive(Debug)]
enum Source {
    File(HashMap<String, Tensor>),
    Seed(Box<Mutex<Noise>>),
}

/// A network's trainable parameters by name. Cloning shares the values.
pub type Variables = BTreeMap<String, Var>;

/// A network's parameters by name. Cloning shares the values.
pub type Weights = BTreeMap<String, Tensor>;

impl Parameters {
    /// Of a safetensors file. With `trainable`, every parameter becomes a variable, kept in `dtype`.
    ///
    /// # Errors
    /// A file that cannot be read or is no whole safetensors file.
    pub fn open(file: &Path, device: &Device, dtype: DType, trainable: bool) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|e| Error::file(file, e))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| {
            Error::format(file, format!("is no whole safetensors file ({e}): copy or download it again"))
        })?;
        Ok(Self::new(file.display().to_string(), Source::File(tensors), device, dtype, trainable))
    }

    /// Of tensors at hand, frozen.
    #[must_use]
    pub fn of_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        let source = Source::File(tensors.into_iter().collect());
        Self::new("weights in memory".to_owned(), source, device, DType::F32, false)
    }

    /// The same, with the file that errors shall name.
    #[must_use]
    pub fn named(mut self, origin: String) -> Self {
        self.origin = origin;
        self
    }

    /// In this type instead of f32.
    #[must_use]
    pub fn in_type(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Every parameter becomes a variable.
    #[must_use]
    pub fn trained(mut self) -> Self {
        self.trainable = true;
        self
    }

    /// Freshly drawn, trainable, in f32.
    #[must_use]
    pub fn random(seed: u64, device: &Device) -> Self {
        let source = Source::Seed(Box::new(Mutex::new(Noise::new(seed))));
        Self::new("a new network".to_owned(), source, device, DType::F32, true)
    }

    fn new(origin: String, source: Source, device: &Device, dtype: DType, trainable: bool) -> Self {
        Self {
            origin,
            source,
            trainable,
            device: device.clone(),
            dtype,
            adapter: None,
            taken: Mutex::default(),
            variables: Mutex::default(),
        }
    }

    /// Layers that the adapter updates will compute with their update beside their weight.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// The root of the names.
    pub fn root(&self) -> Scope<'_> {
        Scope { parameters: self, prefix: String::new() }
    }

    /// Ends the building: every parameter of the file must have been used.
    ///
    /// # Errors
    /// The first tensor that no layer asked for.
    pub fn finish(self) -> Result<Variables> {
        self.finish_with_weights().map(|(variables, _)| variables)
    }

    /// As [`Parameters::finish`], also with every parameter by name; they share their memory with the network.
    ///
    /// # Errors
    /// As [`Parameters::finish`].
    pub fn finish_with_weights(self) -> Result<(Variables, Weights)> {
        let taken = self.taken.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Source::File(tensors) = &self.source {
            // Old files carry this constant index; it is no parameter.
            let unknown =
                tensors.keys().filter(|k| !taken.contains_key(*k) && !k.ends_with("position_ids")).min();
            if let Some(name) = unknown {
                return Err(Error::Tensor {
                    origin: self.origin,
                    tensor: name.clone(),
                    problem: "is in the file but not in the network that the config describes".to_owned(),
                });
            }
        }
        let variables = self.variables.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((variables, taken))
    }

    fn get(&self, name: String, shape: &[usize], init: Init) -> Result<Tensor> {
        let bad =
            |problem: String| Error::Tensor { origin: self.origin.clone(), tensor: name.clone(), problem };
        let value = match &self.source {
            Source::File(tensors) => {
                let value = tensors.get(&name).ok_or_else(|| bad("is missing".to_owned()))?;
                if value.dims() != shape {
                    return Err(bad(format!(
                        "has shape {:?} where the config asks for {shape:?}",
                        value.dims()
                    )));
                }
                value.to_dtype(self.dtype)?.to_device(&self.device)?
            }
            Source::Seed(noise) => {
                let mut noise = noise.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let count = shape.iter().product();
                let values = match init {
                    Init::Constant(c) => vec![c as f32; count],
                    Init::Normal(d) => noise.normal(count).into_iter().map(|v| v * d as f32).collect(),
                    Init::Uniform(bound) => {
                        (0..count).map(|_| ((2.0 * noise.uniform() - 1.0) * bound) as f32).collect()
                    }
                };
                Tensor::from_vec(values, shape, &self.device)?.to_dtype(self.dtype)?
            }
        };
        let value = if self.trainable {
            let variable = Var::from_tensor(&value)?;
            let value = variable.as_tensor().clone();
            self.variables
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(name.clone(), variable);
            value
        } else {
            value
        };
        self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name, value.clone());
        Ok(value)
    }
}

/// A place in the tree of names.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    parameters: &'a Parameters,
    prefix: String,
}

impl Scope<'_> {
    /// The place below, by a name that may itself have dots.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { parameters: self.parameters, prefix: format!("{}{name}.", self.prefix) }
    }

    /// A parameter here.
    ///
    /// # Errors
    /// It is missing or misshapen.
    pub fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.parameters.get(format!("{}{name}", self.prefix), shape, init)
    }

    /// The adapter's update of the layer here, if there is one.
    #[must_use]
    pub fn update(&self) -> Option<LowRank> {
        let layer = self.prefix.strip_suffix('.')?;
        self.parameters.adapter.as_ref()?.layers().get(layer).cloned()
    }
}

/// Writes tensors as a safetensors file that diffusers reads, all or nothing: under a temporary name first.
///
/// # Errors
/// The file cannot be written.
pub fn save(tensors: &BTreeMap<String, Tensor>, file: &Path) -> Result<()> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let cpu = tensors
        .iter()
        .map(|(name, t)| Ok((name.as_str(), t.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(cpu, Some(metadata)).map_err(|e| Error::format(file, e))?;
    write_atomically(file, &bytes)
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
///
/// # Errors
/// The file cannot be written.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_by(file, |out| out.write_all(bytes))
}

/// The same for what is too large to lie in memory: `write` is given the way into the file.
///
/// # Errors
/// The file cannot be written, or `write` fails.
pub fn write_atomically_by(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = |e| Error::file(file, e);
    // A bare name lies in the folder ".", which its parent, "", does not say.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let temporary = folder.join(name);
    let write = || {
        let mut out = io::BufWriter::new(std::fs::File::create(&temporary)?);
        write(&mut out)?;
        out.into_inner()?.sync_all()?;
        std::fs::rename(&temporary, file)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|e| {
        // The error is what matters; a leftover temporary file is harmless.
        let _ = std::fs::remove_file(&temporary);
        failed(e)
    })
}

/// The tensors of variables, in another type.
///
/// # Errors
/// candle's.
pub fn values(variables: &Variables, dtype: DType) -> Result<BTreeMap<String, Tensor>> {
    variables.iter().map(|(name, v)| Ok((name.clone(), v.as_detached_tensor().to_dtype(dtype)?))).collect()
}
