//! The parameters that a network is built from: where their values come from, and which of them it used.

use super::named_tensors::{Variables, Weights};
use super::part_files::PartFiles;
use super::stored::{EXTRA, StoredWeights, is_ignored, shape_problem};
use crate::lora::Adapter;
use crate::nn::LowRank;
use crate::noise::Noise;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The initial value of a parameter of a new network.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// The same value for all elements.
    Constant(f64),
    /// A normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// A uniform distribution between minus and plus this bound.
    Uniform(f64),
}

impl Init {
    /// PyTorch's default for linear layers and convolutions with `n` inputs: uniform within 1 / sqrt(n).
    #[must_use]
    pub fn fan_in(n: usize) -> Self {
        Self::Uniform(1.0 / (n as f64).sqrt())
    }
}

/// The parameters that a network is built from.
#[derive(Debug)]
pub struct Parameters {
    origin: String,
    source: Source,
    trainable: bool,
    device: Device,
    dtype: DType,
    adapter: Option<Adapter>,
    used: Mutex<BTreeMap<String, Tensor>>,
    variables: Mutex<Variables>,
}

#[derive(Debug)]
enum Source {
    Files(StoredWeights),
    Memory(BTreeMap<String, Tensor>),
    Seed(Box<Mutex<Noise>>),
    /// No values: records the names and shapes that a network requests.
    ShapesOnly(Mutex<BTreeMap<String, Vec<usize>>>),
}

impl Parameters {
    /// The tensors of a safetensors or torch file, as `dtype`. With `trainable`, every parameter becomes a variable.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is damaged.
    pub fn open(file: &Path, device: &Device, dtype: DType, trainable: bool) -> Result<Self> {
        Ok(Self::from_stored(StoredWeights::open(&PartFiles::one(file))?, device, dtype, trainable))
    }

    /// The tensors of a part's files, as `dtype`, each read when the network is built. With `trainable`, every parameter
    /// becomes a variable.
    #[must_use]
    pub fn from_stored(stored: StoredWeights, device: &Device, dtype: DType, trainable: bool) -> Self {
        Self::new(stored.origin().to_owned(), Source::Files(stored), device, dtype, trainable)
    }

    /// Tensors in memory, as `f32` and frozen.
    #[must_use]
    pub fn of_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        Self::new("weights in memory".to_owned(), Source::Memory(tensors), device, DType::F32, false)
    }

    /// Sets the file that errors name.
    #[must_use]
    pub fn with_origin(mut self, origin: String) -> Self {
        self.origin = origin;
        self
    }

    /// Sets the type that values are converted to.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes every parameter a variable.
    #[must_use]
    pub fn trainable(mut self) -> Self {
        self.trainable = true;
        self
    }

    /// New parameters, drawn from `seed` as each [`Init`] says, trainable and in `f32`.
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
            used: Mutex::default(),
            variables: Mutex::default(),
        }
    }

    /// Adds the low-rank updates of an adapter to the layers that are built.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Adapter) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// The scope of all names.
    pub fn root(&self) -> Scope<'_> {
        Scope { parameters: self, prefix: String::new() }
    }

    /// Builds a network that uses all of these parameters. Before reading values, checks that the files have exactly the
    /// tensors that the network needs, and reports several problems at once.
    ///
    /// # Errors
    /// Fails if parameters are missing, unused or of another shape.
    pub fn build<N>(self, network: impl Fn(&Scope<'_>) -> Result<N>) -> Result<(N, Variables)> {
        let (built, variables, _) = self.build_with_weights(network)?;
        Ok((built, variables))
    }

    /// As [`Parameters::build`]; also returns every parameter by name. They share their memory with the network.
    ///
    /// # Errors
    /// As [`Parameters::build`].
    pub fn build_with_weights<N>(
        self,
        network: impl Fn(&Scope<'_>) -> Result<N>,
    ) -> Result<(N, Variables, Weights)> {
        if let Source::Files(stored) = &self.source {
            stored.check(&parameter_shapes(|scope| network(scope).map(drop))?)?;
        }
        let built = network(&self.root())?;
        let (variables, weights) = self.finish_with_weights()?;
        Ok((built, variables, weights))
    }

    /// Ends the construction of a network. Returns its variables, if the parameters are trainable.
    ///
    /// # Errors
    /// Fails if the network did not use all parameters, and names the first.
    pub fn finish(self) -> Result<Variables> {
        self.finish_with_weights().map(|(variables, _)| variables)
    }

    /// As [`Parameters::finish`]; also returns every parameter by name. They share their memory with the network.
    ///
    /// # Errors
    /// As [`Parameters::finish`].
    pub fn finish_with_weights(self) -> Result<(Variables, Weights)> {
        let used = self.used.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_unused = |name: &&str| !used.contains_key(*name) && !is_ignored(name);
        let unused = match &self.source {
            Source::Files(stored) => stored.shapes().map(|(name, _)| name).find(is_unused),
            Source::Memory(tensors) => tensors.keys().map(String::as_str).find(is_unused),
            Source::Seed(_) | Source::ShapesOnly(_) => None,
        };
        if let Some(name) = unused {
            return Err(Error::tensor(self.origin, name, EXTRA));
        }
        Ok((self.variables.into_inner().unwrap_or_else(PoisonError::into_inner), used))
    }

    fn get(&self, name: String, shape: &[usize], init: Init) -> Result<Tensor> {
        let value = match &self.source {
            Source::Files(stored) => stored.read(&name, shape, self.dtype)?.to_device(&self.device)?,
            Source::Memory(tensors) => {
                let bad = |problem: &str| Error::tensor(&self.origin, &name, problem);
                let value = tensors.get(&name).ok_or_else(|| bad("is missing"))?;
                if value.dims() != shape {
                    return Err(bad(&shape_problem(value.dims(), shape)));
                }
                value.to_dtype(self.dtype)?.to_device(&self.device)?
            }
            Source::ShapesOnly(shapes) => {
                lock(shapes).insert(name, shape.to_vec());
                // A broadcast scalar takes no memory.
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
        lock(&self.used).insert(name, value.clone());
        Ok(value)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names and shapes of the parameters that `network` requests. All values are zeros, and nothing is read.
///
/// # Errors
/// Fails if `network` does.
pub fn parameter_shapes(
    network: impl FnOnce(&Scope<'_>) -> Result<()>,
) -> Result<BTreeMap<String, Vec<usize>>> {
    let source = Source::ShapesOnly(Mutex::default());
    let parameters =
        Parameters::new("a network without weights".to_owned(), source, &Device::Cpu, DType::F32, false);
    network(&parameters.root())?;
    match parameters.source {
        Source::ShapesOnly(shapes) => Ok(shapes.into_inner().unwrap_or_else(PoisonError::into_inner)),
        _ => Ok(BTreeMap::new()),
    }
}

/// A prefix of parameter names, such as `down_blocks.0.`.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    parameters: &'a Parameters,
    prefix: String,
}

impl Scope<'_> {
    /// The scope `name` within this one; `name` may contain dots.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { parameters: self.parameters, prefix: format!("{}{name}.", self.prefix) }
    }

    /// The parameter `name` of this scope.
    ///
    /// # Errors
    /// Fails if it is missing or does not have `shape`.
    pub fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.parameters.get(format!("{}{name}", self.prefix), shape, init)
    }

    /// The adapter's update of the layer with this scope, if there is one.
    #[must_use]
    pub fn update(&self) -> Option<LowRank> {
        let layer = self.prefix.strip_suffix('.')?;
        self.parameters.adapter.as_ref()?.layers().get(layer).cloned()
    }
}
