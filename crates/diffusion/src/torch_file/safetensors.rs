//! Reading the header of a safetensors file, and creating one.

use super::problem::Checked;
use super::source::{Extent, Source};
use super::tensor::StoredTensor;
use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata as Header, TensorInfo};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The limit of the format.
const MAX_HEADER: u64 = 100_000_000;

/// The text entries of the header.
pub(super) type Metadata = BTreeMap<String, String>;

/// Whether a file of this length with these first bytes can be a safetensors file.
pub(super) fn is_likely(head: [u8; 8], next: u8, length: u64) -> bool {
    let header = u64::from_le_bytes(head);
    next == b'{' && header <= MAX_HEADER.min(length.saturating_sub(8))
}

/// Reads every tensor, by name, and the metadata.
pub(super) fn read(source: &Source) -> Checked<(Vec<(String, StoredTensor)>, Metadata)> {
    let damaged = |e: &dyn std::fmt::Display| {
        format!("is not a complete safetensors file ({e}): copy or download it again")
    };
    let head = source.read(0, 8)?;
    let length = u64::from_le_bytes(head.try_into().map_err(|_| damaged(&"too short"))?);
    let bytes = source.read(0, 8 + length)?;
    let text = std::str::from_utf8(&bytes[8..]).map_err(|e| damaged(&e))?;
    let (header, metadata) = parse(text)?;
    let begin = 8 + length;
    let end = begin.saturating_add(header.data_len() as u64);
    if end > source.length() {
        return Err(damaged(&format!("it has {} of {end} bytes", source.length())));
    }
    if end < source.length() {
        return Err(format!(
            "has {} bytes behind its last tensor, which safetensors does not allow: if the file is otherwise right, cut \
             them off with `truncate -s {end} FILE`",
            source.length() - end
        ));
    }
    let whole = Extent::stored(begin, header.data_len() as u64);
    let mut tensors = vec![];
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        if info.dtype.bitsize() % 8 != 0 {
            return Err(format!(
                "tensor {name:?} has type {}, which has less than a byte per value and is not supported",
                info.dtype
            ));
        }
        let (start, end) = info.data_offsets;
        let tensor = whole
            .part(start as u64, end.saturating_sub(start) as u64)
            .ok_or_else(|| "reaches beyond the end of the file".to_owned())
            .and_then(|extent| StoredTensor::contiguous(info.dtype, info.shape.clone(), extent))
            .map_err(|problem| format!("tensor {name:?} {problem}"))?;
        tensors.push((name, tensor));
    }
    Ok((tensors, metadata))
}

/// Parses the text of a header. Unlike the safetensors library, this accepts metadata that is not text, since nothing depends
/// on it, and names the tensor of an invalid entry.
fn parse(text: &str) -> Checked<(Header, Metadata)> {
    let invalid = |e: &dyn std::fmt::Display| {
        format!(
            "has an invalid safetensors header ({e}): copy or download the file again, or write it again with safetensors"
        )
    };
    let mut entries: Map<String, Value> = serde_json::from_str(text).map_err(|e| invalid(&e))?;
    let metadata = match entries.remove("__metadata__") {
        None | Some(Value::Null) => Metadata::new(),
        Some(Value::Object(entries)) => {
            entries.into_iter().map(|(key, value)| (key, text_of(value))).collect()
        }
        Some(_) => return Err(invalid(&"__metadata__ is not an object")),
    };
    let mut tensors: Vec<(String, TensorInfo)> = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        if let Some(dtype) = entry.get("dtype").filter(|dtype| Dtype::deserialize(*dtype).is_err()) {
            return Err(format!(
                "tensor {name:?} has type {dtype}, which is unknown: take a version of the file in F32, F16 or BF16"
            ));
        }
        let info = TensorInfo::deserialize(entry).map_err(|e| invalid(&format!("tensor {name:?}: {e}")))?;
        tensors.push((name, info));
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    Ok((Header::new(None, tensors).map_err(|e| invalid(&e))?, metadata))
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The header for these tensors, and the order in which their values follow: as in the safetensors library, the widest types
/// first.
pub(super) fn header(
    tensors: &[(String, StoredTensor)],
    metadata: &Metadata,
) -> Checked<(Vec<u8>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| {
        let ((a_name, a), (b_name, b)) = (&tensors[a], &tensors[b]);
        b.dtype().cmp(&a.dtype()).then_with(|| a_name.cmp(b_name))
    });
    let mut json = format!("{{\"__metadata__\":{}", to_json(metadata)?);
    let mut end = 0;
    for &i in &order {
        let (name, tensor) = &tensors[i];
        let start = end;
        end += tensor.size() as usize;
        let info =
            TensorInfo { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), data_offsets: (start, end) };
        json += &format!(",{}:{}", to_json(name)?, to_json(&info)?);
    }
    json += "}";
    let mut json = json.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() as u64 > MAX_HEADER {
        return Err(format!(
            "would need a header of {} bytes, but safetensors allows {MAX_HEADER}",
            json.len()
        ));
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok((header, order))
}

fn to_json(value: &impl serde::Serialize) -> Checked<String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}
