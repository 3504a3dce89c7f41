//! An open weights file.

use super::problem::Checked;
use super::source::Source;
use super::tensor::StoredTensor;
use super::value::{Pickle, Value};
use super::{archive, calls, legacy, names, opcode, rebuild, safetensors};
use crate::{Error, Result};
use files::write_atomically_by;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The key under which training frameworks store the weights in a pickle.
pub const STATE_DICT: &str = "state_dict";

/// The largest number of calls that an error lists.
const MAX_CALLS: usize = 8;
/// The name of a tensor that is the only content of a file.
const ONLY_TENSOR: &str = "tensor";

/// An open weights file of torch or safetensors.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    source: Source,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Pickle(Pickle, rebuild::Storages),
    Safetensors(Vec<(String, StoredTensor)>, safetensors::Metadata),
}

/// The tensors below a root in a file.
#[derive(Debug, Default)]
pub struct Listing {
    /// The tensors that can be read, by name and in the order of the file.
    pub tensors: Vec<(String, StoredTensor)>,
    /// The tensors that cannot be read, with the reason and what to do.
    pub unreadable: Vec<(String, String)>,
    /// The places of tensors without a name, with the reason.
    pub left_out: Vec<String>,
}

/// The ends of the names of tensors with which ComfyUI scales 8-bit weights, and the marker of such a file.
const SCALES: [&str; 5] = [".scale_weight", ".scale_input", ".weight_scale", ".input_scale", "scaled_fp8"];

impl Listing {
    /// Refuses weights that are products of 8-bit numbers and scales: read without the scales, they would be wrong.
    ///
    /// # Errors
    /// Names the first tensor of scales.
    pub fn refuse_scaled(&self, file: &Path) -> Result<()> {
        let is_scale = |name: &&String| SCALES.iter().any(|end| name.ends_with(end));
        match self.tensors.iter().map(|(name, _)| name).find(is_scale) {
            None => Ok(()),
            Some(name) => Err(Error::tensor(
                file.display(),
                name,
                "scales 8-bit weights (ComfyUI's scaled fp8), which is not supported: take the version of the file in F16 or \
                 BF16",
            )),
        }
    }
}

impl WeightsFile {
    /// Opens a file and reads everything but the tensors' values.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is truncated, or has another format, or if unpickling it would call a function that
    /// weights do not need.
    pub fn open(path: &Path) -> Result<Self> {
        let file = Self::open_skipping_calls(path)?;
        file.refuse_calls()?;
        Ok(file)
    }

    /// As [`WeightsFile::open`], leaving out what an unknown call would make. Nothing is called.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is truncated, or has another format.
    pub fn open_skipping_calls(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        let source = Source::open(file).map_err(|e| Error::file(path, e))?;
        let content = read(&source).map_err(|problem| Error::format(path, problem))?;
        Ok(Self { path: path.to_owned(), source, content })
    }

    /// Refuses a pickle that would call an unknown function, and names it, with the place of its result if that is known.
    fn refuse_calls(&self) -> Result<()> {
        let Content::Pickle(pickle, _) = &self.content else { return Ok(()) };
        let mut names = calls::unknown_calls(pickle);
        names.extend(pickle.other_calls.iter().cloned());
        if names.is_empty() {
            return Ok(());
        }
        let places =
            names::find(pickle, pickle.top, ONLY_TENSOR).map(|found| found.calls).unwrap_or_default();
        let more = names.len().saturating_sub(MAX_CALLS);
        let mut texts: Vec<String> = vec![];
        for name in names.iter().take(MAX_CALLS) {
            let place = places.iter().find(|(_, called)| called == name);
            let place = place.map_or(String::new(), |(path, _)| format!(" (to make {})", shown(path)));
            texts.push(shown(name) + &place);
        }
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        Err(Error::format(
            &self.path,
            format!(
                "would call {} when it is unpickled, which weights do not need: the file may be malicious. `convert IN OUT \
                 --skip-calls` copies its other tensors and calls nothing",
                texts.join(", ")
            ),
        ))
    }

    /// Lists the tensors below `root`, a dotted path, or all tensors.
    ///
    /// # Errors
    /// Fails if `root` does not exist, or the file has too many tensors or nests them too deeply.
    pub fn list(&self, root: Option<&str>) -> Result<Listing> {
        self.list_checked(root).map_err(|problem| Error::format(&self.path, problem))
    }

    fn list_checked(&self, root: Option<&str>) -> Checked<Listing> {
        let mut listing = Listing::default();
        match &self.content {
            Content::Safetensors(tensors, _) => {
                let below = |name: &str| match root {
                    None => Some(name.to_owned()),
                    Some(root) => Some(name.strip_prefix(root)?.strip_prefix('.')?.to_owned()),
                };
                listing.tensors =
                    tensors.iter().filter_map(|(name, t)| Some((below(name)?, t.clone()))).collect();
                if let (Some(root), []) = (root, &listing.tensors[..]) {
                    return Err(format!("has no tensor below {root:?}"));
                }
            }
            Content::Pickle(pickle, storages) => {
                let id = root.map_or(Ok(pickle.top), |root| names::resolve(pickle, root))?;
                let own_name = root.and_then(|root| root.rsplit('.').next()).unwrap_or(ONLY_TENSOR);
                let found = names::find(pickle, id, own_name)?;
                listing.left_out = found.left_out;
                for (name, id) in found.tensors {
                    let Value::Object(object) = pickle.get(id) else { continue };
                    match rebuild::tensor(pickle, storages, object) {
                        Ok(tensor) => listing.tensors.push((name, tensor)),
                        Err(problem) => listing.unreadable.push((name, problem)),
                    }
                }
            }
        }
        Ok(listing)
    }

    /// The top-level keys below which there are tensors; none for a safetensors file, which has no structure.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        match &self.content {
            Content::Pickle(pickle, _) => names::roots(pickle),
            Content::Safetensors(..) => vec![],
        }
    }

    /// The root of the weights in a checkpoint of a training framework, if the file has one: [`STATE_DICT`].
    #[must_use]
    pub fn state_dict_root(&self) -> Option<&'static str> {
        self.roots().iter().any(|root| root == STATE_DICT).then_some(STATE_DICT)
    }

    /// The text of an entry in the header of a safetensors file.
    #[must_use]
    pub fn metadata(&self, entry: &str) -> Option<&str> {
        match &self.content {
            Content::Safetensors(_, metadata) => metadata.get(entry).map(String::as_str),
            Content::Pickle(..) => None,
        }
    }

    /// The text entries of a safetensors header; none for a pickle.
    #[must_use]
    pub fn all_metadata(&self) -> BTreeMap<String, String> {
        match &self.content {
            Content::Safetensors(_, metadata) => metadata.clone(),
            Content::Pickle(..) => BTreeMap::new(),
        }
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Passes the values of a tensor of this file to `out`, in portions, in row-major order and little-endian.
    ///
    /// # Errors
    /// Fails if the file cannot be read or `out` fails.
    pub fn read(
        &self,
        tensor: &StoredTensor,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut out = |bytes: &[u8]| out(bytes).map_err(|e| format!("cannot be copied: {e}"));
        tensor.write(&self.source, &mut out).map_err(|problem| Error::format(&self.path, problem))
    }

    /// Writes tensors of this file to a safetensors file, atomically and in portions.
    ///
    /// # Errors
    /// Fails if two tensors have the same name, the tensors are much larger than this file, or the file cannot be written.
    pub fn save(&self, tensors: &[(String, StoredTensor)], to: &Path) -> Result<()> {
        let problem = |problem: String| Error::format(&self.path, problem);
        check_names(tensors).map_err(problem)?;
        self.check_size(tensors).map_err(problem)?;
        let mut metadata = self.all_metadata();
        // transformers refuses files without this entry.
        metadata.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
        let (header, order) = safetensors::header(tensors, &metadata).map_err(problem)?;
        write_atomically_by(to, |out| {
            out.write_all(&header).map_err(|source| Error::file(to, source))?;
            for i in order {
                self.read(&tensors[i].1, &mut |bytes| out.write_all(bytes))?;
            }
            Ok(())
        })
    }

    /// Refuses to write much more than the file has: views may repeat a small storage any number of times.
    fn check_size(&self, tensors: &[(String, StoredTensor)]) -> Checked<()> {
        let largest = self.source.length().saturating_mul(16).saturating_add(1 << 30);
        let size = tensors.iter().try_fold(0_u64, |sum, (_, tensor)| sum.checked_add(tensor.size()));
        match size {
            Some(size) if size <= largest => Ok(()),
            _ => Err(format!(
                "has {} bytes but its tensors, which repeat the same storage, have more than {largest}: clone() and \
                 save only what is needed",
                self.source.length()
            )),
        }
    }
}

/// The beginning of a name from the file, quoted.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(100).collect::<String>())
}

/// Detects the format from the first bytes and reads the file.
fn read(source: &Source) -> Checked<Content> {
    let head = source.read(0, source.length().min(9))?;
    let pickle = |(pickle, storages)| Content::Pickle(pickle, storages);
    match head[..] {
        [] => Err("is empty: copy or download it again".to_owned()),
        [b'P', b'K', ..] => archive::read(source).map(pickle),
        [a, b, c, d, e, f, g, h, next]
            if safetensors::is_likely([a, b, c, d, e, f, g, h], next, source.length()) =>
        {
            let (tensors, metadata) = safetensors::read(source)?;
            Ok(Content::Safetensors(tensors, metadata))
        }
        [_, _, _, _, _, _, _, _, b'{'] => {
            Err("is not a complete safetensors file (the header reaches beyond the end): copy or download it again"
                .to_owned())
        }
        // Pickles of protocol 2 and above begin with PROTO; those of torch in protocols 0 and 1 with an integer.
        [
            opcode::PROTO | opcode::LONG | opcode::INT | opcode::BININT | opcode::BININT1 | opcode::BININT2,
            ..,
        ] => legacy::read(source).map(pickle),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', _] => {
            Err("is a pointer of Git LFS instead of the file: run `git lfs pull`, or download it again".to_owned())
        }
        [0x1f, 0x8b, ..] => Err("is compressed with gzip: unpack it first".to_owned()),
        [0x89, b'H', b'D', b'F', ..] => Err("is an HDF5 file, which is not supported".to_owned()),
        _ => Err("is neither a torch file nor safetensors: copy or download it again".to_owned()),
    }
}

/// Checks that safetensors allows the names.
fn check_names(tensors: &[(String, StoredTensor)]) -> Checked<()> {
    let mut names = HashSet::new();
    for (name, _) in tensors {
        if !names.insert(name) {
            return Err(format!("has two tensors that would be named {name:?}"));
        }
        if name.is_empty() || name == "__metadata__" {
            return Err(format!(
                "has a tensor that would be named {name:?}, which safetensors does not allow"
            ));
        }
    }
    Ok(())
}
