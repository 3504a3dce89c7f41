//! Reading files of torch gives the same bytes as torch does.

use super::{convert, files, folder};
use diffusion::torch_file::WeightsFile;

#[test]
fn every_file_has_the_tensors_that_torch_reads() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut compared = 0;
    for file in files() {
        let Ok(expected) = std::fs::read(file.with_extension("safetensors")) else { continue };
        let to = scratch.path().join("out.safetensors");
        let bytes = convert(&file, None, &to).unwrap_or_else(|e| panic!("{e}"));
        // The safetensors library writes the same bytes, including order and header.
        assert!(bytes == expected, "{} differs", file.display());
        // Converting the result again does not change it.
        let again =
            convert(&to, None, &scratch.path().join("again.safetensors")).expect("a safetensors file");
        assert!(again == expected, "{} differs when read again", file.display());
        compared += 1;
    }
    assert!(compared >= 24, "{compared}");
    assert!(!std::path::Path::new("torch_file_was_executed").exists());
}

#[test]
fn tensors_that_cannot_be_read_are_errors_with_a_remedy() {
    let scratch = tempfile::tempdir().expect("a folder");
    for (name, expected) in [
        ("sparse", "sparse is sparse"),
        ("sparse_rows", "rows is sparse"),
        ("quantised", "quantised is quantised"),
        ("meta", "meta has no values"),
        ("complex128", "wide has type torch.complex128"),
        ("conjugate", "lazy is a lazy conjugate"),
        ("collision", "two tensors that would be named \"a.b\""),
        ("plain", "is a pickle of a dict without torch's header"),
        ("script", "TorchScript"),
    ] {
        let to = scratch.path().join("out.safetensors");
        let problem = convert(&folder().join(name).with_extension("pt"), None, &to).expect_err(name);
        assert!(problem.contains(expected), "{name}: {problem}");
        assert!(!to.exists(), "{name} left a file");
    }
}

#[test]
fn a_path_within_the_file_can_be_the_root() {
    let open = |name: &str| WeightsFile::open(&folder().join(name)).expect("a fixture");
    let names = |name: &str, root: &str| -> Vec<String> {
        let listing = open(name).list(Some(root)).expect("a root");
        listing.tensors.into_iter().map(|(name, _)| name).collect()
    };
    let state = names("checkpoint_4_zip.pt", "state_dict");
    assert_eq!(state.len(), 9);
    assert_eq!(state[..2], ["scale", "kept"]);
    assert_eq!(names("checkpoint_2_legacy.pt", "state_dict"), state);
    assert_eq!(names("checkpoint_2_zip.pt", "tuple.1"), ["0", "1.0"]);
    assert_eq!(names("checkpoint_2_zip.pt", "tuple.0"), ["0"]);
    assert_eq!(names("network_zip.pt", "body.0"), ["weight", "bias"]);
    assert_eq!(names("network_zip.safetensors", "body.0"), ["bias", "weight"]);
    let problem = open("checkpoint_2_zip.pt").list(Some("state_dict.nothing")).expect_err("no such path");
    assert!(problem.to_string().contains("a dict with the keys scale, kept"), "{problem}");
    assert!(open("network_zip.safetensors").list(Some("nothing")).is_err());
}

#[test]
fn tensors_without_names_are_reported() {
    let held = WeightsFile::open(&folder().join("held.pt")).expect("a fixture");
    let listing = held.list(None).expect("a listing");
    assert_eq!(listing.tensors.len(), 1);
    assert!(listing.left_out[0].contains("object (argparse.Namespace)"), "{:?}", listing.left_out);
    assert_eq!(held.roots(), ["state", "object"]);

    let looped =
        WeightsFile::open(&folder().join("loop.pt")).expect("a fixture").list(None).expect("a listing");
    assert_eq!(looped.tensors.len(), 1);
    assert!(looped.left_out[0].contains("self.0: refers back"), "{:?}", looped.left_out);

    let empty =
        WeightsFile::open(&folder().join("no_tensors.pt")).expect("a fixture").list(None).expect("a listing");
    assert!(empty.tensors.is_empty());
    assert_eq!(empty.left_out, ["arrays.0: is a numpy array, not a tensor"]);
    for file in ["checkpoint_2_zip.pt", "checkpoint_5_legacy.pt"] {
        let listing =
            WeightsFile::open(&folder().join(file)).expect("a fixture").list(None).expect("a listing");
        let arrays = ["numpy.2: is a numpy array, not a tensor", "numpy.3: is a numpy array, not a tensor"];
        assert_eq!(listing.left_out, arrays, "{file}");
    }
}
