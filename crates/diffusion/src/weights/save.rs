//! Writing weights as safetensors files that diffusers reads.

use super::finite::is_finite;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use files::{write_atomically, write_atomically_by};
use half::f16;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes tensors to a safetensors file, atomically.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn save(tensors: &BTreeMap<String, Tensor>, file: &Path) -> Result<()> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let cpu = tensors
        .iter()
        .map(|(name, t)| Ok((name.as_str(), t.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(cpu, Some(metadata)).map_err(|e| Error::format(file, e))?;
    Ok(write_atomically(file, &bytes)?)
}

/// Writes tensors of one type as [`save`] does, with only one of them in memory at a time: `tensor` is called for each when
/// it is written.
///
/// # Errors
/// Fails if the file cannot be written, `dtype` is neither `F32` nor `F16`, `tensor` fails or returns another
/// shape, or a value is not finite in `dtype`.
pub fn save_streamed(
    shapes: &BTreeMap<String, Vec<usize>>,
    dtype: DType,
    file: &Path,
    tensor: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
) -> Result<()> {
    let (dtype_name, width) = match dtype {
        DType::F32 => ("F32", 4),
        DType::F16 => ("F16", 2),
        other => return Err(Error::format(file, format!("cannot be written in {other:?}: use F32 or F16"))),
    };
    let header = header(shapes, dtype_name, width);
    write_atomically_by(file, |out| {
        let write = |out: &mut BufWriter<_>, bytes: &[u8]| {
            out.write_all(bytes).map_err(|source| Error::file(file, source))
        };
        write(out, &(header.len() as u64).to_le_bytes())?;
        write(out, &header)?;
        for (name, shape) in shapes {
            let values = tensor(name, shape)?;
            let written = values.to_dtype(dtype)?;
            if !is_finite(&written)? {
                return Err(not_finite(file, name, &values, dtype_name)?);
            }
            let bytes = little_endian_bytes(&written)?;
            if bytes.len() != width * shape.iter().product::<usize>() {
                return Err(Error::format(file, format!("tensor {name:?} would not have shape {shape:?}")));
            }
            write(out, &bytes)?;
        }
        Ok(())
    })
}

/// The JSON header of a safetensors file, padded to a multiple of 8 bytes. `width`: bytes of a value.
fn header(shapes: &BTreeMap<String, Vec<usize>>, dtype_name: &str, width: usize) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut end = 0;
    for (tensor, shape) in shapes {
        let start = end;
        end += width * shape.iter().product::<usize>();
        let info = json!({ "dtype": dtype_name, "shape": shape, "data_offsets": [start, end] });
        header.insert(tensor.clone(), info);
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// The error for a tensor that is not finite in the type that is written.
fn not_finite(file: &Path, name: &str, values: &Tensor, dtype_name: &str) -> Result<Error> {
    let problem = if is_finite(values)? {
        format!("has values that {dtype_name} cannot hold: write the weights in F32")
    } else {
        "has values that are not finite (NaN or infinite): the model or an adapter of it is damaged"
            .to_owned()
    };
    Ok(Error::tensor(file.display(), name, problem))
}

/// The values of a tensor of type `F16` or `F32`.
fn little_endian_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let values = tensor.flatten_all()?;
    Ok(match values.dtype() {
        DType::F16 => values.to_vec1::<f16>()?.into_iter().flat_map(f16::to_le_bytes).collect(),
        _ => values.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect(),
    })
}
