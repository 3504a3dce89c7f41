//! Tensors of a file in memory, as a frozen network takes them.

use super::{StoredTensor, WeightsFile};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use std::collections::BTreeMap;

impl WeightsFile {
    /// Every tensor below `root` by name, in f32.
    ///
    /// # Errors
    /// There is no such place, a tensor cannot be read, or its type is not one of numbers that weights have.
    pub fn load(&self, root: Option<&str>) -> Result<BTreeMap<String, Tensor>> {
        let listing = self.list(root)?;
        if let Some((name, problem)) = listing.unreadable.first() {
            return Err(self.bad(name, problem.clone()));
        }
        listing.tensors.iter().map(|(name, stored)| Ok((name.clone(), self.tensor(name, stored)?))).collect()
    }

    fn tensor(&self, name: &str, stored: &StoredTensor) -> Result<Tensor> {
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
                return Err(self.bad(name, format!("has elements of type {other}, which no weights have")));
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

    fn bad(&self, name: &str, problem: String) -> Error {
        Error::Tensor { origin: self.path.display().to_string(), tensor: name.to_owned(), problem }
    }
}
