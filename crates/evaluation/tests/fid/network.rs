//! Features of the network at full size in every mode.

use crate::formula::{image, weights};
use crate::{expected, fixture};
use candle_core::{DType, Device, Tensor};
use evaluation::fid::{Extractor, Mode, extract};
use evaluation::inception::Inception;
use std::ops::ControlFlow;

const SIZES: [(u32, u32); 3] = [(64, 48), (299, 299), (350, 310)];

#[test]
fn features_of_every_mode_equal_those_of_the_reference_packages() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("inception.safetensors");
    diffusion::weights::save(&weights(), &file).expect("weights on disk");
    for mode in Mode::ALL {
        let inception = Inception::load(&file, &Device::Cpu).expect("the network");
        let extractor = Extractor::Inception(Box::new(inception), mode);
        let open = |i: usize| {
            let (width, height) = SIZES[i];
            Ok(image(&format!("picture {width}x{height}"), width, height))
        };
        let mut done = Vec::new();
        let features = extract(&extractor, SIZES.len(), 2, open, &mut |n| {
            done.push(n);
            ControlFlow::Continue(())
        });
        let features = features.expect("features").expect("nobody stopped it");
        assert_eq!(done, [2, 3]);
        let theirs = expected(&format!("features.{}", mode.as_str()));
        let ours =
            Tensor::from_slice(features.values(), theirs.shape(), &Device::Cpu).expect("the same shape");
        for (i, size) in SIZES.iter().enumerate() {
            let off = relative(&ours, &theirs, i).expect("numbers");
            eprintln!("{} of {size:?}: off by {off:.1e}", mode.as_str());
            assert!(off < 1e-4, "{} of {size:?} is off by {off:e}", mode.as_str());
        }
    }
}

/// Files in torch's present format and in that of Inception's publication. Every tensor is a view of one short storage,
/// so that a network of full size takes few bytes.
#[test]
fn files_in_both_formats_of_torch_give_the_features_of_pytorch_fid() {
    let theirs = expected("features.published").reshape((1, ())).expect("a row");
    for name in ["inception-zip.pth", "inception-legacy.pth"] {
        let inception = Inception::load(&fixture(name), &Device::Cpu).expect(name);
        let extractor = Extractor::Inception(Box::new(inception), Mode::PytorchFid);
        let ours = extractor.features(&[image("published", 80, 60)]).expect("features");
        let off = relative(&ours, &theirs, 0).expect("numbers");
        assert!(off < 1e-4, "{name} is off by {off:e}");
    }
}

fn relative(ours: &Tensor, theirs: &Tensor, i: usize) -> candle_core::Result<f64> {
    let (ours, theirs) = (ours.get(i)?.to_dtype(DType::F64)?, theirs.get(i)?.to_dtype(DType::F64)?);
    let norm =
        |t: &Tensor| -> candle_core::Result<f64> { Ok(t.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt()) };
    Ok(norm(&(ours - &theirs)?)? / norm(&theirs)?)
}

#[test]
fn a_missing_tensor_is_refused_by_name() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("other.safetensors");
    let mut tensors = weights();
    tensors.remove("Mixed_6b.branch7x7_2.conv.weight");
    diffusion::weights::save(&tensors, &file).expect("weights on disk");
    let error = Inception::load(&file, &Device::Cpu).expect_err("a tensor is missing").to_string();
    assert!(
        error.contains("Mixed_6b.branch7x7_2.conv.weight") && error.contains("other.safetensors"),
        "{error}"
    );
}
