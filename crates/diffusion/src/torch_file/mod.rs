//! Files of weights as torch writes them, and safetensors: looked through and copied tensor by tensor, running nothing
//! of what a pickle would run.
//!
//! A file from anywhere may be given: every number is checked before it is used, nesting costs no stack, and memory is
//! bounded (see the limits in each file). Rooms: `source` (bytes of the file), `zip` and `archive` (torch since 1.6),
//! `legacy` (before), `input`, `pickle` and `value` (the object), `rebuild` and `tensor` (where elements are), `names`
//! (dotted paths), `safetensors_file`.

mod archive;
mod input;
mod legacy;
mod load;
mod names;
mod pickle;
mod rebuild;
mod safetensors_file;
mod source;
mod tensor;
mod value;
mod zip;

pub use safetensors::Dtype;
pub use tensor::StoredTensor;

use crate::weights::write_atomically_by;
use crate::{Error, Result};
use source::Source;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Or what is wrong with the file, as the rest of a sentence that begins with its name.
type Checked<T> = std::result::Result<T, String>;

/// The name of a tensor that is a file's whole content.
const ONLY_TENSOR: &str = "tensor";

/// A file of weights.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    source: Source,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Pickle(value::Pickle, rebuild::Storages),
    Safetensors(Vec<(String, StoredTensor)>, safetensors_file::Notes),
}

/// The tensors below a place in a file.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that can be read, by name, in the order of the file.
    pub tensors: Vec<(String, StoredTensor)>,
    /// Those that cannot, with the reason and the remedy.
    pub unreadable: Vec<(String, String)>,
    /// Places whose tensors have no names, with the reason.
    pub left_out: Vec<String>,
}

impl WeightsFile {
    /// Opens a file and reads everything but the tensors.
    ///
    /// # Errors
    /// It cannot be read, is truncated, or is of a kind that is not known.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file(path, e))?;
        let source = Source::open(file).map_err(|e| Error::file(path, e))?;
        let content = read(&source).map_err(|problem| Error::format(path, problem))?;
        Ok(Self { path: path.to_owned(), source, content })
    }

    /// The tensors below `root`, a dotted path; without it, all.
    ///
    /// # Errors
    /// There is no such place, or the file nests beyond reason.
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
                    let value::Value::Object(object) = pickle.get(id) else { continue };
                    match rebuild::tensor(pickle, storages, object) {
                        Ok(tensor) => listing.tensors.push((name, tensor)),
                        Err(problem) => listing.unreadable.push((name, problem)),
                    }
                }
            }
        }
        Ok(listing)
    }

    /// The top's keys under which tensors lie; none for safetensors, which has no places.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        match &self.content {
            Content::Pickle(pickle, _) => names::roots(pickle),
            Content::Safetensors(..) => vec![],
        }
    }

    /// Hands the elements of a tensor of this file to `out`, in row-major order, little end first, in portions.
    ///
    /// # Errors
    /// The file cannot be read, or `out` fails.
    pub fn read(
        &self,
        tensor: &StoredTensor,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut out = |bytes: &[u8]| out(bytes).map_err(|e| format!("cannot be copied: {e}"));
        tensor.write(&self.source, &mut out).map_err(|problem| Error::format(&self.path, problem))
    }

    /// Writes tensors of this file as safetensors, all or nothing, a portion at a time.
    ///
    /// # Errors
    /// Two tensors share a name, the file would be beyond measure, or it cannot be written.
    pub fn save(&self, tensors: &[(String, StoredTensor)], to: &Path) -> Result<()> {
        let problem = |problem: String| Error::format(&self.path, problem);
        check_names(tensors).map_err(problem)?;
        self.check_size(tensors).map_err(problem)?;
        let mut notes = match &self.content {
            Content::Safetensors(_, notes) => notes.clone(),
            Content::Pickle(..) => safetensors_file::Notes::new(),
        };
        // Readers such as transformers ask for this.
        notes.entry("format".to_owned()).or_insert_with(|| "pt".to_owned());
        let (header, order) = safetensors_file::header(tensors, &notes).map_err(problem)?;
        write_atomically_by(to, |out| {
            out.write_all(&header)?;
            for i in order {
                self.read(&tensors[i].1, &mut |bytes| out.write_all(bytes)).map_err(std::io::Error::other)?;
            }
            Ok(())
        })
    }

    /// Views may repeat a small storage without end: refused where the result dwarfs the file.
    fn check_size(&self, tensors: &[(String, StoredTensor)]) -> Checked<()> {
        let largest = self.source.length().saturating_mul(16).saturating_add(1 << 30);
        let size = tensors.iter().try_fold(0_u64, |sum, (_, tensor)| sum.checked_add(tensor.size()));
        match size {
            Some(size) if size <= largest => Ok(()),
            _ => Err(format!(
                "has {} bytes but its tensors, which repeat the same storage, would have more than {largest}: clone() \
                 and save only what is needed",
                self.source.length()
            )),
        }
    }
}

/// Tells kinds of files apart by how they begin.
fn read(source: &Source) -> Checked<Content> {
    let head = source.read(0, source.length().min(9))?;
    let pickle = |(pickle, storages)| Content::Pickle(pickle, storages);
    match head[..] {
        [] => Err("is empty: copy or download it again".to_owned()),
        [b'P', b'K', ..] => archive::read(source).map(pickle),
        [a, b, c, d, e, f, g, h, next]
            if safetensors_file::is_likely([a, b, c, d, e, f, g, h], next, source.length()) =>
        {
            let (tensors, notes) = safetensors_file::read(source)?;
            Ok(Content::Safetensors(tensors, notes))
        }
        [_, _, _, _, _, _, _, _, b'{'] => {
            Err("is no whole safetensors file (its header reaches beyond its end): copy or download it again"
                .to_owned())
        }
        // Protocols from 2 on begin so; 0 and 1 with an opcode of an integer.
        [0x80, ..] | [b'L' | b'I' | b'J' | b'K' | b'M', ..] => legacy::read(source).map(pickle),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', _] => {
            Err("is a pointer of Git LFS, not the file it stands for: `git lfs pull`, or download it again"
                .to_owned())
        }
        [0x1f, 0x8b, ..] => Err("is compressed by gzip: unpack it first".to_owned()),
        [0x89, b'H', b'D', b'F', ..] => Err("is an HDF5 file, not one of torch".to_owned()),
        _ => Err("is neither a torch file nor safetensors: copy or download it again".to_owned()),
    }
}

fn check_names(tensors: &[(String, StoredTensor)]) -> Checked<()> {
    let mut names = std::collections::HashSet::new();
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
