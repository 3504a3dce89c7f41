//! The weights in a part's files, read tensor by tensor, so that at most one is in memory beside the network under
//! construction.

use super::part_files::PartFiles;
use crate::torch_file::{StoredTensor, WeightsFile, type_problem};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;

/// The largest number of problems that an error lists.
const MAX_PROBLEMS: usize = 8;

/// The tensors in a part's files, by name.
#[derive(Debug)]
pub struct StoredWeights {
    origin: String,
    files: Vec<WeightsFile>,
    tensors: BTreeMap<String, (usize, StoredTensor)>,
    /// Tensors that are present but cannot be read, with the reason.
    unreadable: BTreeMap<String, String>,
}

impl StoredWeights {
    /// Opens the files and reads everything but the tensors' values.
    ///
    /// # Errors
    /// Fails if a file is damaged, a shard lacks a tensor that the index assigns to it, or two shards have the same tensor.
    pub fn open(part: &PartFiles) -> Result<Self> {
        let origin = part.origin().display().to_string();
        let mut stored =
            Self { origin, files: vec![], tensors: BTreeMap::new(), unreadable: BTreeMap::new() };
        for (i, path) in part.files().iter().enumerate() {
            let file = WeightsFile::open(path)?;
            let listing = file.list(file.state_dict_root())?;
            listing.refuse_scaled(path)?;
            stored.unreadable.extend(listing.unreadable);
            for (name, tensor) in listing.tensors {
                if let Some((before, _)) = stored.tensors.insert(name.clone(), (i, tensor)) {
                    let problem = if before == i {
                        "occurs twice".to_owned()
                    } else {
                        format!("is also in {}", part.files()[before].display())
                    };
                    return Err(Error::tensor(path.display(), name, problem));
                }
            }
            stored.files.push(file);
        }
        let mut problems = vec![];
        for (name, &expected) in part.shards.iter().flatten() {
            if stored.tensors.get(name).is_none_or(|(file, _)| *file != expected) {
                let shard = part.files()[expected].file_name().unwrap_or_default().to_string_lossy();
                problems
                    .push((name.clone(), format!("is missing from {shard}, to which the index assigns it")));
            }
        }
        stored.fail_if_any(problems)?;
        Ok(stored)
    }

    /// Renames tensors.
    ///
    /// # Errors
    /// Fails if two tensors get the same name.
    pub fn rename(mut self, new_name: impl Fn(&str) -> String) -> Result<Self> {
        for (name, tensor) in std::mem::take(&mut self.tensors) {
            let new = new_name(&name);
            if self.tensors.insert(new.clone(), tensor).is_some() {
                return Err(Error::tensor(self.origin, new, format!("occurs twice, once as {name:?}")));
            }
        }
        Ok(self)
    }

    /// The file, or the index of the shards, for error messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Fails if there is a tensor that cannot be read, for a network whose tensors no config lists.
    ///
    /// # Errors
    /// Names the tensors.
    pub fn refuse_unreadable(&self) -> Result<()> {
        self.fail_if_any(self.unreadable.clone().into_iter().collect())
    }

    /// Checks that all tensors are of types that weights may have.
    ///
    /// # Errors
    /// Names the tensors that are not.
    pub fn check_types(&self) -> Result<()> {
        let used = self.tensors.iter().filter(|(name, _)| !is_ignored(name));
        let problem = |(name, (_, tensor)): (&String, &(usize, StoredTensor))| {
            Some((name.clone(), type_problem(tensor.dtype())?))
        };
        self.fail_if_any(used.filter_map(problem).collect())
    }

    /// The names and shapes of all tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, (_, tensor))| (name.as_str(), tensor.shape()))
    }

    /// The tensor `name` with the file it is in.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&WeightsFile, &StoredTensor)> {
        self.tensors.get(name).map(|(file, tensor)| (&self.files[*file], tensor))
    }

    /// Checks that the files have exactly the tensors that a network needs, in types that weights may have.
    ///
    /// # Errors
    /// Fails if tensors are missing, superfluous, or of another shape or type, and lists several of them.
    pub fn check(&self, needed: &BTreeMap<String, Vec<usize>>) -> Result<()> {
        let mut problems = vec![];
        for (name, shape) in needed {
            if let Some((_, tensor)) = self.tensors.get(name) {
                if tensor.shape() != shape {
                    problems.push((name.clone(), shape_problem(tensor.shape(), shape)));
                } else if let Some(problem) = type_problem(tensor.dtype()) {
                    problems.push((name.clone(), problem));
                }
            } else {
                let reason = self.unreadable.get(name).map_or("is missing", String::as_str);
                problems.push((name.clone(), reason.to_owned()));
            }
        }
        for name in self.tensors.keys().filter(|name| !needed.contains_key(*name) && !is_ignored(name)) {
            problems.push((name.clone(), EXTRA.to_owned()));
        }
        self.fail_if_any(problems)
    }

    fn fail_if_any(&self, mut problems: Vec<(String, String)>) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Err(Error::Tensors { origin: self.origin.clone(), problems, more })
    }

    /// Reads a tensor of any floating-point type to the CPU and converts it to `dtype`.
    ///
    /// # Errors
    /// Fails if it is missing, does not have `shape`, is not of a floating-point type, or its file cannot be read.
    pub fn read(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bad = |problem: &str| Error::tensor(&self.origin, name, problem);
        let (file, tensor) = self
            .get(name)
            .ok_or_else(|| bad(self.unreadable.get(name).map_or("is missing", String::as_str)))?;
        if tensor.shape() != shape {
            return Err(bad(&shape_problem(tensor.shape(), shape)));
        }
        file.load_tensor(name, tensor, dtype)
    }
}

/// The problem of a tensor that no layer uses.
pub(super) const EXTRA: &str = "is in the file but not in the network that the config describes";

/// The problem of a tensor of another shape than the layer's.
pub(super) fn shape_problem(found: &[usize], needed: &[usize]) -> String {
    format!("has shape {found:?}, but the config needs {needed:?}")
}

/// Whether a tensor is not a parameter: old files have a constant index of positions.
pub(super) fn is_ignored(name: &str) -> bool {
    name.ends_with("position_ids")
}
