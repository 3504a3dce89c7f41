//! Files that torch wrote, and hostile files. `oracles/torch_files.py` creates the fixtures.

mod calls;
mod headers;
mod hostile;
mod published;

use diffusion::torch_file::WeightsFile;
use std::path::{Path, PathBuf};

/// The folder of the fixtures.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_files")
}

/// Every file that torch wrote, sorted by name.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the fixtures")
        .map(|entry| entry.expect("a fixture").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pt"))
        .collect();
    files.sort();
    assert!(files.len() > 30, "fixtures are missing");
    files
}

/// Converts all tensors below the root to a safetensors file and returns its bytes. A tensor that cannot be read is an error.
fn convert(file: &Path, root: Option<&str>, to: &Path) -> Result<Vec<u8>, String> {
    let weights = WeightsFile::open_skipping_calls(file).map_err(|e| e.to_string())?;
    let listing = weights.list(root).map_err(|e| e.to_string())?;
    if let Some((name, problem)) = listing.unreadable.first() {
        return Err(format!("{name} {problem}"));
    }
    weights.save(&listing.tensors, to).map_err(|e| e.to_string())?;
    Ok(std::fs::read(to).expect("what was written"))
}
