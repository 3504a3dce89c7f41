//! `convert IN OUT.safetensors`: turns a file of weights, as torch or safetensors wrote it, into safetensors under the
//! names that the file has. It runs nothing of what the file says, and writes all or nothing. See docs/convert.md.

mod published;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use diffusion::torch_file::{StoredTensor, WeightsFile};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where files of many frameworks keep their weights.
const USUAL_ROOT: &str = "state_dict";
/// How many of a kind a message names.
const SHOWN: usize = 8;

/// What to convert, and to what.
#[derive(Debug, Args)]
pub(crate) struct ConvertCommand {
    /// A file of torch.save (.pt, .pth, .bin, .ckpt, of any version) or of safetensors.
    r#in: PathBuf,
    /// The safetensors file to write. May be left out with --list.
    #[arg(required_unless_present = "list")]
    out: Option<PathBuf>,
    /// The place of the tensors in the file, as a dotted path such as `state_dict`. Default: the whole file; with
    /// --for, `state_dict` where there is one.
    #[arg(long)]
    root: Option<String>,
    /// Taken off the names that begin with it, such as `module.`; the others stay as they are.
    #[arg(long, value_name = "P")]
    strip_prefix: Option<String>,
    /// The model that it must be: every tensor of it, no other, each of its shape.
    #[arg(long = "for", value_name = "MODEL")]
    model: Option<PublishedModel>,
    /// Print each tensor's name, type and shape, separated by tabs, under the names that it would be written.
    #[arg(long)]
    list: bool,
}

/// Models whose files are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PublishedModel {
    /// HPSv2, v2.0 and v2.1.
    Hps,
    /// The LAION aesthetic predictor.
    Aesthetic,
    /// ImageReward v1.0.
    ImageReward,
    /// Inception v3 of pytorch-fid and torch-fidelity.
    Inception,
    /// CLIP ViT-L/14 and ViT-H/14, under OpenCLIP's names or transformers'; PickScore is one of them.
    Clip,
    /// Stable Diffusion 1.x and XL: the single file, or one part of the diffusers layout.
    StableDiffusion,
}

impl ConvertCommand {
    /// # Errors
    /// What went wrong, for people.
    pub(crate) fn run(self) -> Result<()> {
        let file = WeightsFile::open(&self.r#in)?;
        let roots = file.roots();
        let known_root =
            (self.model.is_some() && roots.iter().any(|root| root == USUAL_ROOT)).then_some(USUAL_ROOT);
        let root = self.root.as_deref().or(known_root);
        let listing = file.list(root)?;
        for problem in listing.left_out.iter().take(SHOWN) {
            eprintln!("left out: {}", problem.escape_debug());
        }
        if let Some(more) = listing.left_out.len().checked_sub(SHOWN + 1) {
            eprintln!("left out: {} more such places", more + 1);
        }
        let mut tensors = listing.tensors;
        let mut unreadable = listing.unreadable;
        if let Some(prefix) = &self.strip_prefix {
            let names =
                tensors.iter_mut().map(|(name, _)| name).chain(unreadable.iter_mut().map(|(name, _)| name));
            ensure!(strip(prefix, names) > 0, "--strip-prefix {prefix}: no name begins so");
        }
        if self.list {
            // Before any complaint: a list is what helps then.
            print(&tensors)?;
        }
        let unreadable: Vec<String> =
            unreadable.into_iter().map(|(name, problem)| format!("tensor {name:?} {problem}")).collect();
        if self.out.is_none() && self.model.is_none() {
            unreadable.iter().take(SHOWN).for_each(|problem| eprintln!("cannot be read: {problem}"));
            if tensors.is_empty() {
                eprintln!("{} has no tensors{}", self.r#in.display(), below(root));
            }
            return Ok(());
        }
        ensure!(unreadable.is_empty(), "{}: {}", self.r#in.display(), first(&unreadable));
        ensure!(!tensors.is_empty(), "{} has no tensors{}", self.r#in.display(), below(root));
        if let Some(model) = self.model {
            published::check(model, &tensors).with_context(|| self.r#in.display().to_string())?;
        }
        let Some(out) = &self.out else { return Ok(()) };
        ensure!(!is_same(&self.r#in, out), "{} is both IN and OUT: give OUT another name", out.display());
        file.save(&tensors, out)?;
        let bytes: u64 = tensors.iter().map(|(_, tensor)| tensor.size()).sum();
        eprintln!("{}: {} tensors, {bytes} bytes", out.display(), tensors.len());
        if root.is_none() && roots == [USUAL_ROOT] {
            eprintln!("every name begins with {USUAL_ROOT:?}: --root {USUAL_ROOT} leaves that out");
        }
        Ok(())
    }
}

/// Takes the prefix off, and the dot that may be left before the rest; how many names had it.
fn strip<'a>(prefix: &str, names: impl Iterator<Item = &'a mut String>) -> usize {
    let mut count = 0;
    for name in names {
        if let Some(rest) = name.strip_prefix(prefix) {
            *name = rest.strip_prefix('.').unwrap_or(rest).to_owned();
            count += 1;
        }
    }
    count
}

fn print(tensors: &[(String, StoredTensor)]) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut write = || {
        for (name, tensor) in tensors {
            // A name may hold anything; a line stays a line.
            let name: String = name
                .chars()
                .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
                .collect();
            writeln!(out, "{name}\t{}\t{:?}", tensor.dtype(), tensor.shape())?;
        }
        out.flush()
    };
    match write() {
        // `| head` has read enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the list"),
    }
}

/// The first few, and how many more.
fn first(problems: &[String]) -> String {
    let more = problems.len().saturating_sub(SHOWN);
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}

fn below(root: Option<&str>) -> String {
    root.map_or(String::new(), |root| format!(" below {root}"))
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
