//! Loading tensors of a weights file into memory.

use super::floats::{type_problem, widen};
use super::tensor::StoredTensor;
use super::weights_file::WeightsFile;
use crate::{Error, Result};
use ::safetensors::Dtype;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

impl WeightsFile {
    /// Loads every tensor below `root` whose name is `wanted`, by name and in `f32`.
    ///
    /// # Errors
    /// Fails if `root` does not exist, a tensor cannot be read, or its type is not one that weights have.
    pub fn load(
        &self,
        root: Option<&str>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Tensor>> {
        let listing = self.list(root)?;
        if let Some((name, problem)) = listing.unreadable.iter().find(|(name, _)| wanted(name)) {
            return Err(Error::tensor(self.path().display(), name, problem));
        }
        listing.refuse_scaled(self.path())?;
        let tensors = listing.tensors.iter().filter(|(name, _)| wanted(name));
        tensors
            .map(|(name, stored)| Ok((name.clone(), self.load_tensor(name, stored, DType::F32)?)))
            .collect()
    }

    /// Loads a tensor of this file to the CPU, converted to `dtype`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or the tensor's type is not one that weights have.
    pub fn load_tensor(&self, name: &str, stored: &StoredTensor, dtype: DType) -> Result<Tensor> {
        let widen = widen(stored.dtype()).ok_or_else(|| {
            Error::tensor(self.path().display(), name, type_problem(stored.dtype()).unwrap_or_default())
        })?;
        let count = stored.shape().iter().product();
        if (stored.dtype(), dtype) == (Dtype::F64, DType::F64) {
            let mut values: Vec<f64> = Vec::with_capacity(count);
            self.read(stored, &mut |bytes| {
                values.extend(bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)));
                Ok(())
            })?;
            return Ok(Tensor::from_vec(values, stored.shape(), &Device::Cpu)?);
        }
        // All 8-bit values are read here: candle's own conversion of F8E4M3 to f64 never returns.
        let mut values: Vec<f32> = Vec::with_capacity(count);
        self.read(stored, &mut |bytes| {
            widen(bytes, &mut values);
            Ok(())
        })?;
        Ok(Tensor::from_vec(values, stored.shape(), &Device::Cpu)?.to_dtype(dtype)?)
    }
}
