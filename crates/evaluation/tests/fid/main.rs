//! Comparison of FID with pytorch-fid, clean-fid and torch-fidelity (`oracles/fid.py`).

mod distances;
mod files;
mod formula;
mod network;

use candle_core::{Device, Tensor};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fid").join(name)
}

/// A result of the oracle.
fn expected(name: &str) -> Tensor {
    let file = fixture("expected.safetensors");
    let mut tensors = candle_core::safetensors::load(file, &Device::Cpu).expect("the fixture");
    tensors.remove(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
}
