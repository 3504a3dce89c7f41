//! An open single-file checkpoint, and writing it as a folder.

use super::part::Part;
use super::plan::{LeftOut, Options, Plan, plan};
use crate::torch_file::{StoredTensor, WeightsFile, type_problem};
use crate::{Error, Result};
use files::write_atomically;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An open single-file checkpoint.
#[derive(Debug)]
pub struct SingleFile {
    path: PathBuf,
    file: WeightsFile,
    tensors: BTreeMap<String, StoredTensor>,
    plan: Plan,
}

impl SingleFile {
    /// Opens a safetensors or torch file and plans its conversion.
    ///
    /// # Errors
    /// Fails if the file cannot be read, its family is unknown, or tensors are missing, superfluous, or of another
    /// shape or type.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let file = WeightsFile::open(path)?;
        let listing = file.list(file.state_dict_root())?;
        listing.refuse_scaled(path)?;
        let tensors: BTreeMap<String, StoredTensor> = listing.tensors.into_iter().collect();
        let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect();
        let mut plan = plan(&shapes, &file.all_metadata(), options).map_err(|problem| {
            // A tensor that cannot be read is not in the list and may be the one reported as missing.
            let unreadable = listing.unreadable.first();
            let hint = unreadable.map_or(String::new(), |(name, why)| format!(" (tensor {name:?} {why})"));
            Error::format(path, problem + &hint)
        })?;
        let place =
            |problem: String| LeftOut { name: problem, reason: "have no name of a tensor".to_owned() };
        plan.left_out.extend(listing.unreadable.into_iter().map(|(name, reason)| LeftOut { name, reason }));
        plan.left_out.extend(listing.left_out.into_iter().map(place));
        for renamed in plan.parts.iter().flat_map(|part| &part.tensors) {
            let dtype = tensors.get(&renamed.old).map(StoredTensor::dtype);
            if let Some(problem) = dtype.and_then(type_problem) {
                return Err(Error::tensor(path.display(), &renamed.old, problem));
            }
        }
        Ok(Self { path: path.to_owned(), file, tensors, plan })
    }

    /// The plan of the conversion.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes the model to `folder` in diffusers layout, without the tokenizers' vocabularies, which a single file does not
    /// have. `report` is called before each part is written.
    ///
    /// # Errors
    /// Fails if the file cannot be read or the folder cannot be written.
    pub fn write(&self, folder: &Path, report: &mut dyn FnMut(&Part)) -> Result<()> {
        for part in &self.plan.parts {
            report(part);
            let part_folder = folder.join(part.name);
            let mut tensors = vec![];
            for renamed in &part.tensors {
                let old = self.tensors.get(&renamed.old);
                let view = old.and_then(|old| renamed.view.of(old)).ok_or_else(|| {
                    Error::tensor(self.path.display(), &renamed.old, "has other dimensions than planned")
                })?;
                tensors.push((renamed.new.clone(), view));
            }
            self.file.save(&tensors, &part_folder.join(part.weights_file()))?;
            write_json(&part_folder.join("config.json"), &part.config)?;
        }
        for (name, config) in &self.plan.configs {
            write_json(&folder.join(name), config)?;
        }
        Ok(())
    }
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::format(file, e))?;
    text.push('\n');
    Ok(write_atomically(file, text.as_bytes())?)
}
