//! safetensors files as they lie on the disk: read tensor by tensor, and written likewise.

use super::Checked;
use super::source::{Extent, Source};
use super::tensor::StoredTensor;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;

/// The format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Text beside the tensors.
pub(super) type Notes = BTreeMap<String, String>;

/// Whether a file of this length can begin so.
pub(super) fn is_likely(head: [u8; 8], next: u8, length: u64) -> bool {
    let header = u64::from_le_bytes(head);
    next == b'{' && header <= LONGEST_HEADER.min(length.saturating_sub(8))
}

/// Every tensor, by name, and the notes.
pub(super) fn read(source: &Source) -> Checked<(Vec<(String, StoredTensor)>, Notes)> {
    let broken =
        |e: &dyn std::fmt::Display| format!("is no whole safetensors file ({e}): copy or download it again");
    let head = source.read(0, 8)?;
    let length = u64::from_le_bytes(head.try_into().map_err(|_| broken(&"too short"))?);
    let bytes = source.read(0, 8 + length)?;
    // The crate looks at the header together with the data; without them it checks nothing but the header.
    let header = std::str::from_utf8(&bytes[8..]).map_err(|e| broken(&e))?;
    let metadata: Metadata = serde_json::from_str(header).map_err(|e| broken(&e))?;
    let begin = 8 + length;
    if begin + metadata.data_len() as u64 != source.length() {
        return Err(broken(&"its length is not what its header says"));
    }
    let whole = Extent::stored(begin, metadata.data_len() as u64);
    let mut tensors = vec![];
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        if info.dtype.bitsize() % 8 != 0 {
            return Err(format!(
                "tensor {name:?} has type {}, of less than a byte: it cannot be read",
                info.dtype
            ));
        }
        let (start, end) = info.data_offsets;
        let tensor = whole
            .part(start as u64, end.saturating_sub(start) as u64)
            .ok_or_else(|| "reaches beyond the file".to_owned())
            .and_then(|extent| StoredTensor::contiguous(info.dtype, info.shape.clone(), extent))
            .map_err(|problem| format!("tensor {name:?} {problem}"))?;
        tensors.push((name, tensor));
    }
    Ok((tensors, metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()))
}

/// The order that safetensors gives to tensors, widest elements first, and the header that says so.
pub(super) fn header(tensors: &[(String, StoredTensor)], notes: &Notes) -> Checked<(Vec<u8>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| {
        let ((a_name, a), (b_name, b)) = (&tensors[a], &tensors[b]);
        b.dtype().cmp(&a.dtype()).then_with(|| a_name.cmp(b_name))
    });
    let mut json = format!("{{\"__metadata__\":{}", text(notes)?);
    let mut end = 0;
    for &i in &order {
        let (name, tensor) = &tensors[i];
        let start = end;
        end += tensor.size() as usize;
        let info =
            TensorInfo { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), data_offsets: (start, end) };
        json += &format!(",{}:{}", text(name)?, text(&info)?);
    }
    json += "}";
    let mut json = json.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() as u64 > LONGEST_HEADER {
        return Err(format!(
            "would need a header of {} bytes; safetensors allows {LONGEST_HEADER}",
            json.len()
        ));
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok((header, order))
}

fn text(value: &impl serde::Serialize) -> Checked<String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}
