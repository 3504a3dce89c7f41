//! Reading the header of a safetensors file, and creating one.

use super::problem::Checked;
use super::source::{Extent, Source};
use super::tensor::StoredTensor;
use ::safetensors::tensor::{Metadata as Header, TensorInfo};
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
    // Parsed directly, because the crate's own functions need the data of the tensors in memory.
    let text = std::str::from_utf8(&bytes[8..]).map_err(|e| damaged(&e))?;
    let header: Header = serde_json::from_str(text).map_err(|e| damaged(&e))?;
    let begin = 8 + length;
    if begin + header.data_len() as u64 != source.length() {
        return Err(damaged(&"the length differs from that in the header"));
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
    let metadata = header.metadata().iter().flatten();
    Ok((tensors, metadata.map(|(key, value)| (key.clone(), value.clone())).collect()))
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
