//! Loading tensors of a weights file into memory.

use super::tensor::StoredTensor;
use super::weights_file::WeightsFile;
use crate::{Error, Result};
use ::safetensors::Dtype;
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

impl WeightsFile {
    /// Loads every tensor below `root`, by name and in `f32`.
    ///
    /// # Errors
    /// Fails if `root` does not exist, a tensor cannot be read, or its type is not one that weights have.
    pub fn load(&self, root: Option<&str>) -> Result<BTreeMap<String, Tensor>> {
        let listing = self.list(root)?;
        if let Some((name, problem)) = listing.unreadable.first() {
            return Err(Error::tensor(self.path().display(), name, problem));
        }
        let tensors = listing.tensors.iter();
        tensors.map(|(name, stored)| Ok((name.clone(), self.load_tensor(name, stored)?))).collect()
    }

    /// Loads a tensor of this file in `f32`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or the tensor's type is not one that weights have.
    pub fn load_tensor(&self, name: &str, stored: &StoredTensor) -> Result<Tensor> {
        let dtype = match stored.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            Dtype::I16 => DType::I16,
            Dtype::U8 => DType::U8,
            other => {
                let problem = format!("has type {other}, which weights cannot have");
                return Err(Error::tensor(self.path().display(), name, problem));
            }
        };
        let mut bytes = Vec::with_capacity(stored.size() as usize);
        self.read(stored, &mut |portion| {
            bytes.extend_from_slice(portion);
            Ok(())
        })?;
        let tensor = Tensor::from_raw_buffer(&bytes, dtype, stored.shape(), &Device::Cpu)?;
        Ok(tensor.to_dtype(DType::F32)?)
    }
}
