//! Queries for the names and shapes of a file's tensors with a common prefix.

use super::problem::Checked;
use std::collections::BTreeMap;

/// Names with larger numbers of blocks are refused; published networks have far fewer.
const MAX_BLOCKS: usize = 256;

/// The tensors of a file whose names have a prefix.
#[derive(Clone, Copy)]
pub(super) struct PrefixedShapes<'a> {
    pub(super) shapes: &'a BTreeMap<String, Vec<usize>>,
    pub(super) prefix: &'a str,
}

impl<'a> PrefixedShapes<'a> {
    /// The shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.shapes.get(&format!("{}{name}", self.prefix)).map(Vec::as_slice)
    }

    /// One dimension of a tensor that must exist.
    pub(super) fn size(&self, name: &str, dimension: usize) -> Checked<usize> {
        let missing = || format!("tensor \"{}{name}\" is missing", self.prefix);
        let shape = self.shape(name).ok_or_else(missing)?;
        shape.get(dimension).copied().filter(|&size| size > 0).ok_or_else(|| {
            format!("tensor \"{}{name}\" has shape {shape:?}, which its layer cannot have", self.prefix)
        })
    }

    /// All names, without the prefix.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let prefix = self.prefix;
        self.shapes
            .range(prefix.to_owned()..)
            .map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(prefix))
            .map(move |name| &name[prefix.len()..])
    }

    /// Whether a name starts with `start` after the prefix.
    pub(super) fn has(&self, start: &str) -> bool {
        self.names().any(|name| name.starts_with(start))
    }

    /// One more than the largest number that follows `start` in a name; 0 if there is none.
    pub(super) fn count(&self, start: &str) -> Checked<usize> {
        let numbers = self.names().filter_map(|name| {
            let digits = name.strip_prefix(start)?.split('.').next()?;
            digits.parse::<usize>().ok()
        });
        match numbers.max() {
            Some(largest) if largest >= MAX_BLOCKS => {
                Err(format!("has tensors \"{}{start}{largest}\", more than any published model", self.prefix))
            }
            largest => Ok(largest.map_or(0, |largest| largest + 1)),
        }
    }
}
