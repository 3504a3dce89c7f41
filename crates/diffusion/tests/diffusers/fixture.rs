//! Reading the fixtures, and comparing tensors with them.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use diffusion::weights::Variables;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The folder of a fixture.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The tensors of a fixture's `expected.safetensors`.
pub(crate) struct Expected(HashMap<String, Tensor>);

impl Expected {
    pub(crate) fn read(name: &str) -> Self {
        let file = folder(name).join("expected.safetensors");
        Self(candle_core::safetensors::load(file, &Device::Cpu).expect("a fixture"))
    }

    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
    }

    /// The names of the tensors with this prefix, without the prefix.
    pub(crate) fn names(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().filter_map(|k| k.strip_prefix(prefix)).collect();
        names.sort_unstable();
        names
    }

    /// Asserts that `ours` equals the tensor `name` within a relative error.
    pub(crate) fn assert_close(&self, name: &str, ours: &Tensor, tolerance: f64) {
        let error = relative_error(ours, self.get(name));
        eprintln!("{name}: off by {error:.1e}");
        assert!(error <= tolerance, "{name} is off by {error:e}");
    }

    /// Asserts that every variable has the gradient `gradient.NAME` within a relative error, and that the fixture has no other
    /// gradients.
    pub(crate) fn assert_gradients(&self, variables: &Variables, ours: &GradStore, tolerance: f64) {
        let names: Vec<&str> = variables.keys().map(String::as_str).collect();
        assert_eq!(names, self.names("gradient."));
        let all = names.iter().map(|n| norm(self.get(&format!("gradient.{n}"))).powi(2)).sum::<f64>().sqrt();
        let mut worst = (0.0, "");
        for (name, variable) in variables {
            let theirs = self.get(&format!("gradient.{name}"));
            let ours = ours.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_eq!(ours.dims(), theirs.dims(), "{name}");
            if norm(theirs) < 1e-12 * all {
                // Exactly zero, for a bias that the next group norm removes, or one that shifts all scores of a query alike.
                // A relative error is undefined.
                assert!(norm(ours) < 1e-6 * all, "{name} is {:e} instead of zero", norm(ours));
                continue;
            }
            let error = relative_error(ours, theirs);
            assert!(error <= tolerance, "the gradient of {name} is off by {error:e}");
            if error > worst.0 {
                worst = (error, name);
            }
        }
        eprintln!("{} gradients, the worst off by {:.1e}: {}", names.len(), worst.0, worst.1);
    }
}

/// A fixture's JSON file.
pub(crate) fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(folder(name)).expect("a fixture");
    serde_json::from_str(&text).expect("a fixture")
}

/// The norm of the difference divided by the norm of the expected tensor.
pub(crate) fn relative_error(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.dims(), theirs.dims());
    let difference = (wide(ours) - wide(theirs)).expect("equal shapes");
    norm(&difference) / norm(theirs)
}

fn norm(t: &Tensor) -> f64 {
    wide(t).sqr().and_then(|t| t.sum_all()?.to_scalar::<f64>()).expect("numbers").sqrt()
}

fn wide(t: &Tensor) -> Tensor {
    t.detach().to_dtype(DType::F64).expect("numbers")
}

/// A tensor of any type in a safetensors file.
#[derive(Clone, Debug)]
pub(crate) struct RawTensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

/// The tensors of a safetensors file.
pub(crate) fn raw(file: &Path) -> BTreeMap<String, RawTensor> {
    let bytes = std::fs::read(file).expect("a file");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors().into_iter();
    let raw = |t: TensorView<'_>| RawTensor {
        dtype: t.dtype(),
        shape: t.shape().to_vec(),
        data: t.data().to_vec(),
    };
    tensors.map(|(name, tensor)| (name, raw(tensor))).collect()
}

/// Writes tensors to a safetensors file.
pub(crate) fn write_raw(tensors: &BTreeMap<String, RawTensor>, file: &Path) {
    let views = tensors.iter().map(|(name, t)| {
        (name, TensorView::new(t.dtype, t.shape.clone(), &t.data).expect("bytes for the shape"))
    });
    std::fs::write(file, safetensors::serialize(views, None).expect("tensors")).expect("written");
}
