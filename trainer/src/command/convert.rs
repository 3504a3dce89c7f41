//! `convert IN OUT.safetensors`: copies the tensors of a torch or safetensors file into a safetensors file. Runs no
//! code of the file, and writes the whole output or none. See docs/convert.md.

mod list;
mod problems;
mod published;

use anyhow::{Context, Result, ensure};
use clap::Args;
use diffusion::torch_file::{StoredTensor, WeightsFile};
use list::print_list;
use problems::{SHOWN, join_first};
use published::PublishedModel;
use std::path::{Path, PathBuf};

/// The key under which many frameworks store weights.
const USUAL_ROOT: &str = "state_dict";

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertCommand {
    /// A file of torch.save (.pt, .pth, .bin or .ckpt, of any version) or a safetensors file.
    r#in: PathBuf,
    /// The safetensors file to write. Optional with --list.
    #[arg(required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Where the tensors are in the file, as a dotted path such as `state_dict`; default: the whole file, or with
    /// --for `state_dict` if the file has it.
    #[arg(long)]
    root: Option<String>,
    /// A prefix to remove from the names that have it, such as `module.`.
    #[arg(long, value_name = "P")]
    strip_prefix: Option<String>,
    /// A published model that the file must be: exactly its tensors, each with its shape.
    #[arg(long = "for", value_name = "MODEL")]
    model: Option<PublishedModel>,
    /// Read a torch file that would call unknown functions when it is unpickled. Nothing is called; what they would make
    /// is left out.
    #[arg(long)]
    skip_calls: bool,
    /// Print name, type and shape of each tensor, separated by tabs, with the names of the output.
    #[arg(long)]
    list: bool,
}

impl ConvertCommand {
    pub(crate) fn run(self) -> Result<()> {
        let open = if self.skip_calls { WeightsFile::open_skipping_calls } else { WeightsFile::open };
        let file = open(&self.r#in)?;
        let roots = file.roots();
        let known_root =
            (self.model.is_some() && roots.iter().any(|root| root == USUAL_ROOT)).then_some(USUAL_ROOT);
        let root = self.root.as_deref().or(known_root);
        let listing = file.list(root)?;
        print_left_out(&listing.left_out);
        let (mut tensors, mut unreadable) = (listing.tensors, listing.unreadable);
        if let Some(prefix) = &self.strip_prefix {
            let names =
                tensors.iter_mut().map(|(name, _)| name).chain(unreadable.iter_mut().map(|(name, _)| name));
            ensure!(
                strip_prefix(prefix, names) > 0,
                "--strip-prefix {prefix}: no tensor's name starts with it; --list shows the names"
            );
        }
        if self.list {
            // Printed before any error: the list helps to correct the arguments.
            print_list(&tensors)?;
        }
        let unreadable: Vec<String> =
            unreadable.into_iter().map(|(name, problem)| format!("tensor {name:?} {problem}")).collect();
        let below = root.map_or(String::new(), |root| format!(" below {root}"));
        let no_tensors = format!("{} has no tensors{below}", self.r#in.display());
        if self.out.is_none() && self.model.is_none() {
            unreadable.iter().take(SHOWN).for_each(|problem| eprintln!("cannot be read: {problem}"));
            if tensors.is_empty() {
                eprintln!("{no_tensors}");
            }
            return Ok(());
        }
        ensure!(unreadable.is_empty(), "{}: {}", self.r#in.display(), join_first(&unreadable));
        ensure!(!tensors.is_empty(), no_tensors);
        if let Some(model) = self.model {
            model.check(&tensors).with_context(|| self.r#in.display().to_string())?;
        }
        if let Some(out) = &self.out {
            self.save(&file, &tensors, out)?;
            if root.is_none() && roots == [USUAL_ROOT] {
                eprintln!("every name starts with {USUAL_ROOT:?}: --root {USUAL_ROOT} removes that");
            }
        }
        Ok(())
    }

    fn save(&self, file: &WeightsFile, tensors: &[(String, StoredTensor)], out: &Path) -> Result<()> {
        ensure!(!is_same(&self.r#in, out), "{} is both IN and OUT: choose another OUT", out.display());
        file.save(tensors, out)?;
        let bytes: u64 = tensors.iter().map(|(_, tensor)| tensor.size()).sum();
        eprintln!("{}: {} tensors, {bytes} bytes", out.display(), tensors.len());
        Ok(())
    }
}

/// Prints what the file has beside tensors.
fn print_left_out(left_out: &[String]) {
    for problem in left_out.iter().take(SHOWN) {
        eprintln!("left out: {}", problem.escape_debug());
    }
    if left_out.len() > SHOWN {
        eprintln!("left out: {} more", left_out.len() - SHOWN);
    }
}

/// Removes the prefix from the names that have it, with a dot that follows it. Returns how many names had it.
fn strip_prefix<'a>(prefix: &str, names: impl Iterator<Item = &'a mut String>) -> usize {
    let mut count = 0;
    for name in names {
        if let Some(rest) = name.strip_prefix(prefix) {
            *name = rest.strip_prefix('.').unwrap_or(rest).to_owned();
            count += 1;
        }
    }
    count
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
