//! Reads the tensors of a safetensors file by name. Errors name file and tensor.

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// f32 values of M pairs.
pub(super) struct Values {
    /// (M, ...)
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Values {
    /// The values of pair `i` as a batch of one.
    pub(super) fn tensor_of(&self, i: usize) -> Result<Tensor> {
        let mut shape = self.shape.clone();
        shape[0] = 1;
        Ok(Tensor::from_slice(self.row(i), shape, &Device::Cpu)?)
    }

    /// The values of pair `i`.
    pub(super) fn row(&self, i: usize) -> &[f32] {
        let size = self.values.len() / self.shape[0];
        &self.values[i * size..][..size]
    }
}

/// A safetensors file in memory.
pub(super) struct TensorFile<'a> {
    file: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    /// Reads the header of `bytes`, the content of `file`. Tensors with other names than `names` are refused.
    pub(super) fn parse(file: &'a Path, bytes: &'a [u8], names: &[&str]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).with_context(|| {
            format!("{} is not a complete safetensors file: write it again", file.display())
        })?;
        if let Some(name) = tensors.names().into_iter().find(|name| !names.contains(name)) {
            bail!("{}: tensor {name:?} is not one of {}: remove it", file.display(), names.join(", "));
        }
        Ok(Self { file, tensors })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn view(&self, name: &str, shape: &str, dtype: Dtype) -> Result<TensorView<'_>> {
        let file = self.file.display();
        let Ok(view) = self.tensors.tensor(name) else {
            bail!("{file}: tensor {name:?} is missing: store it as {shape} in {dtype:?}");
        };
        ensure!(
            view.dtype() == dtype,
            "{file}: tensor {name:?} has type {:?}: store it in {dtype:?}",
            view.dtype()
        );
        Ok(view)
    }

    /// A tensor of finite f32 values. `shape` describes the shape in errors.
    pub(super) fn floats(&self, name: &str, shape: &str, rank: usize) -> Result<Values> {
        let file = self.file.display();
        let view = self.view(name, shape, Dtype::F32)?;
        ensure!(
            view.shape().len() == rank && !view.shape().contains(&0),
            "{file}: tensor {name:?} has shape {:?}: it must be {shape}, none of them 0",
            view.shape()
        );
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default()))
            .collect();
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let size = values.len() / view.shape()[0];
            bail!(
                "{file}: tensor {name:?} has {} in pair {}: all values must be finite",
                values[i],
                i / size
            );
        }
        Ok(Values { shape: view.shape().to_vec(), values })
    }

    /// As [`TensorFile::floats`], with one row for each of `pairs` pairs.
    pub(super) fn floats_per_pair(
        &self,
        name: &str,
        shape: &str,
        rank: usize,
        pairs: usize,
    ) -> Result<Values> {
        let values = self.floats(name, shape, rank)?;
        ensure!(
            values.shape[0] == pairs,
            "{}: tensor {name:?} has {} rows for {pairs} pairs",
            self.file.display(),
            values.shape[0]
        );
        Ok(values)
    }

    /// As [`TensorFile::floats`], with the shape of the tensor `other`.
    pub(super) fn floats_like(&self, name: &str, other: &str, shape: &[usize]) -> Result<Values> {
        let values = self.floats(name, &format!("the shape of {other}"), shape.len())?;
        self.check_shape(name, &values.shape, other, shape)?;
        Ok(values)
    }

    /// Checks that the tensor `name` has the shape of the tensor `other`.
    pub(super) fn check_shape(
        &self,
        name: &str,
        shape: &[usize],
        other: &str,
        other_shape: &[usize],
    ) -> Result<()> {
        ensure!(
            shape == other_shape,
            "{}: tensor {name:?} has shape {shape:?}, but {other} has {other_shape:?}",
            self.file.display()
        );
        Ok(())
    }

    /// The tensor `timesteps`: one of `count` timesteps for each pair.
    pub(super) fn timesteps(&self, pairs: usize, count: usize) -> Result<Vec<usize>> {
        let file = self.file.display();
        let view = self.view("timesteps", "(M)", Dtype::I64)?;
        ensure!(
            view.shape() == [pairs],
            "{file}: tensor \"timesteps\" has shape {:?}: it must be [{pairs}], one for each pair",
            view.shape()
        );
        let numbers =
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default()));
        numbers
            .map(|t| match usize::try_from(t) {
                Ok(t) if t < count => Ok(t),
                _ => bail!("{file}: tensor \"timesteps\" has {t}: the noise schedule has 0 to {}", count - 1),
            })
            .collect()
    }
}
