//! Parameters: read from the files of a model or drawn from a seed, checked by name and shape, and written back.

mod files;
mod stored;

pub use files::{PartFiles, Stem};
pub use stored::StoredWeights;

use crate::lora::Adapter;
use crate::nn::LowRank;
use crate::noise::Noise;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    Files(StoredWeights),
    Memory(BTreeMap<String, Tensor>),
    Seed(Box<Mutex<Noise>>),
    /// No values: what is asked for is noted.
    Nothing(Mutex<BTreeMap<String, Vec<usize>>>),
}

/// A network's trainable parameters by name. Cloning shares the values.
pub type Variables = BTreeMap<String, Var>;

/// A network's parameters by name. Cloning shares the values.
pub type Weights = BTreeMap<String, Tensor>;

impl Parameters {
    /// Of a file of safetensors or torch. With `trainable`, every parameter becomes a variable, kept in `dtype`.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn open(file: &Path, device: &Device, dtype: DType, trainable: bool) -> Result<Self> {
        Ok(Self::stored(StoredWeights::open(&PartFiles::one(file))?, device, dtype, trainable))
    }

    /// Of the files of a part, read while the network is built.
    #[must_use]
    pub fn stored(stored: StoredWeights, device: &Device, dtype: DType, trainable: bool) -> Self {
        Self::new(stored.origin().to_owned(), Source::Files(stored), device, dtype, trainable)
    }

    /// Of tensors at hand, frozen.
    #[must_use]
    pub fn of_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        Self::new("weights in memory".to_owned(), Source::Memory(tensors), device, DType::F32, false)
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

    /// Builds a network from all of these parameters. What the files lack or have too much is told before anything
    /// is read, several at once.
    ///
    /// # Errors
    /// Parameters that are missing, misshapen or left over.
    pub fn build<N>(self, network: impl Fn(&Scope<'_>) -> Result<N>) -> Result<(N, Variables)> {
        if let Source::Files(stored) = &self.source {
            stored.check(&shapes_of(|scope| network(scope).map(drop))?)?;
        }
        let built = network(&self.root())?;
        Ok((built, self.finish()?))
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
        let taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_left = |name: &&str| !taken.contains_key(*name) && !stored::is_idle(name);
        let left = match &self.source {
            Source::Files(stored) => stored.shapes().map(|(name, _)| name).find(is_left),
            Source::Memory(tensors) => tensors.keys().map(String::as_str).find(is_left),
            Source::Seed(_) | Source::Nothing(_) => None,
        };
        if let Some(name) = left {
            return Err(Error::tensor(self.origin, name.to_owned(), stored::EXTRA.to_owned()));
        }
        Ok((self.variables.into_inner().unwrap_or_else(PoisonError::into_inner), taken))
    }

    fn get(&self, name: String, shape: &[usize], init: Init) -> Result<Tensor> {
        let value = match &self.source {
            Source::Files(stored) => stored.read(&name, shape, self.dtype)?.to_device(&self.device)?,
            Source::Memory(tensors) => {
                let bad = |problem| Error::tensor(self.origin.clone(), name.clone(), problem);
                let value = tensors.get(&name).ok_or_else(|| bad("is missing".to_owned()))?;
                if value.dims() != shape {
                    return Err(bad(stored::misshapen(value.dims(), shape)));
                }
                value.to_dtype(self.dtype)?.to_device(&self.device)?
            }
            Source::Nothing(asked) => {
                lock(asked).insert(name, shape.to_vec());
                // One number stands for all: no memory is taken.
                return Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?);
            }
            Source::Seed(noise) => {
                let mut noise = lock(noise);
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
            lock(&self.variables).insert(name.clone(), variable);
            value
        } else {
            value
        };
        lock(&self.taken).insert(name, value.clone());
        Ok(value)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names and shapes of the parameters that a network asks for, whose values `network` must not look at.
///
/// # Errors
/// Those of `network`.
pub fn shapes_of(network: impl FnOnce(&Scope<'_>) -> Result<()>) -> Result<BTreeMap<String, Vec<usize>>> {
    let asked = Source::Nothing(Mutex::default());
    let parameters = Parameters::new("a network's shape".to_owned(), asked, &Device::Cpu, DType::F32, false);
    network(&parameters.root())?;
    match parameters.source {
        Source::Nothing(asked) => Ok(asked.into_inner().unwrap_or_else(PoisonError::into_inner)),
        _ => Ok(BTreeMap::new()),
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

/// Writes tensors of one type as [`save`] does, each asked for when its turn comes: never are two in memory.
///
/// # Errors
/// The file cannot be written, `dtype` is neither F32 nor F16, or `tensor` fails or gives another shape.
pub fn save_streamed(
    shapes: &BTreeMap<String, Vec<usize>>,
    dtype: DType,
    file: &Path,
    tensor: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
) -> Result<()> {
    let (name, width) = match dtype {
        DType::F32 => ("F32", 4),
        DType::F16 => ("F16", 2),
        other => return Err(Error::format(file, format!("cannot be written in {other:?}: use F32 or F16"))),
    };
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    let mut end = 0;
    for (tensor, shape) in shapes {
        let start = end;
        end += width * shape.iter().product::<usize>();
        let place = serde_json::json!({ "dtype": name, "shape": shape, "data_offsets": [start, end] });
        header.insert(tensor.clone(), place);
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    // An error of the tensors' own, told as it is.
    let mut failure = None;
    let written = write_atomically_by(file, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (name, shape) in shapes {
            let values = tensor(name, shape).and_then(|tensor| Ok(tensor.to_dtype(dtype)?.flatten_all()?));
            let bytes = values.and_then(|values| {
                Ok(match dtype {
                    DType::F16 => {
                        values.to_vec1::<half::f16>()?.into_iter().flat_map(half::f16::to_le_bytes).collect()
                    }
                    _ => values.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>(),
                })
            });
            match bytes {
                Ok(bytes) if bytes.len() == width * shape.iter().product::<usize>() => {
                    out.write_all(&bytes)?
                }
                Ok(_) => failure = Some(Error::format(file, format!("would have {name:?} in another shape"))),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                return Err(io::Error::other("a tensor cannot be had"));
            }
        }
        Ok(())
    });
    failure.map_or(written, Err)
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
