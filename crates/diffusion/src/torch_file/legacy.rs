//! The format of torch before 1.6, and with `_use_new_zipfile_serialization=False`: five pickles (a magic number, the version
//! of the format, the writer's system, the object, the keys of the storages), then each storage in the order of the keys, as
//! the number of elements and the elements, little-endian.

use super::calls::unknown_calls;
use super::input::Input;
use super::pickle;
use super::problem::Checked;
use super::rebuild::{StorageRecord, Storages};
use super::source::{Extent, Source};
use super::value::{Pickle, Value};
use std::collections::HashMap;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

pub(super) fn read(source: &Source) -> Checked<(Pickle, Storages)> {
    let mut input = Input::new(source.reader(Extent::stored(0, source.length())));
    let first = pickle::read(&mut input)?;
    if first.integer(first.top) != Some(MAGIC) {
        return Err(format!(
            "is a pickle of {} without torch's header: save it with torch.save",
            first.kind(first.top)
        ));
    }
    let version = pickle::read(&mut input)?;
    if version.integer(version.top) != Some(PROTOCOL) {
        return Err("is a torch file of an unknown version".to_owned());
    }
    let system = pickle::read(&mut input)?;
    let mut object = pickle::read(&mut input)?;
    let keys = pickle::read(&mut input)?;
    object.other_calls = [&first, &version, &system, &keys].into_iter().flat_map(unknown_calls).collect();
    let position = input.position();
    let storages = Storages { extents: storages(source, &object, &keys, position)?, big_endian: false };
    Ok((object, storages))
}

/// The positions of the storages, the first of which starts at `position`.
fn storages(
    source: &Source,
    object: &Pickle,
    keys: &Pickle,
    mut position: u64,
) -> Checked<HashMap<String, Extent>> {
    let mut widths = HashMap::new();
    for value in &object.values {
        if let Value::Persistent(id) = value
            && let Some(record) = StorageRecord::read(object, *id)
        {
            let record = record?;
            // The first record of a key is decisive, as in torch.
            widths.entry(record.key).or_insert(record.width());
        }
    }
    let keys_in_order = keys.sequence(keys.top).ok_or("has no list of storage keys")?;
    let mut extents = HashMap::new();
    for &key in keys_in_order {
        let key = keys.text(key).ok_or("has a storage key that is not text")?;
        let width = *widths.get(key).ok_or_else(|| format!("has a storage {key:?} that no tensor uses"))?;
        let truncated = || format!("ends before or within storage {key:?}: copy or download it again");
        let head = source.read(position, 8).map_err(|_| truncated())?;
        let count = u64::from_le_bytes(head.try_into().map_err(|_| truncated())?);
        let start = position + 8;
        let length = count.checked_mul(width).ok_or_else(truncated)?;
        position = start.checked_add(length).filter(|end| *end <= source.length()).ok_or_else(truncated)?;
        extents.insert(key.to_owned(), Extent::stored(start, length));
    }
    Ok(extents)
}
