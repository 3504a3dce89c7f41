//! Headers of safetensors files that other programs wrote.

use diffusion::torch_file::WeightsFile;
use std::path::Path;

/// A file with this header and 4 bytes of values, followed by `behind`.
fn write(file: &Path, header: &str, behind: &[u8]) {
    let bytes =
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 0, 128, 63], behind].concat();
    std::fs::write(file, bytes).expect("written");
}

const TENSOR: &str = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;

/// Nothing depends on metadata, so numbers in it do no harm. A copy has them as text.
#[test]
fn metadata_need_not_be_text() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (file, copy) = (scratch.path().join("in.safetensors"), scratch.path().join("out.safetensors"));
    for metadata in [r#"{"epoch":3,"rate":1e-4,"tags":["x"],"by":"me","none":null}"#, "null", "{}"] {
        write(&file, &format!(r#"{{"__metadata__":{metadata},{TENSOR}}}"#), b"");
        let opened = WeightsFile::open(&file).expect(metadata);
        let listing = opened.list(None).expect("a list");
        assert_eq!(listing.tensors.len(), 1);
        opened.save(&listing.tensors, &copy).expect("a copy");
        let bytes = std::fs::read(&copy).expect("the copy");
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
        let text = header.metadata().clone().unwrap_or_default();
        assert_eq!(text.get("epoch").map(String::as_str), metadata.contains("epoch").then_some("3"));
    }
}

/// The error says how many bytes there are and how to remove them, which mends the file.
#[test]
fn bytes_behind_the_last_tensor_are_refused_with_a_remedy_that_works() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("in.safetensors");
    write(&file, &format!("{{{TENSOR}}}"), &[7; 5]);
    let error = WeightsFile::open(&file).expect_err("bytes behind the tensor").to_string();
    assert!(error.contains("5 bytes behind its last tensor") && !error.contains("again"), "{error}");
    let size = error.split("truncate -s ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a size");
    let cut = std::fs::OpenOptions::new().write(true).open(&file).expect("the file");
    cut.set_len(size.parse().expect("a number")).expect("cut");
    assert_eq!(WeightsFile::open(&file).and_then(|file| file.list(None)).expect("whole").tensors.len(), 1);
    // A file that ends early is another problem, with another remedy.
    cut.set_len(size.parse::<u64>().expect("a number") - 1).expect("cut");
    let error = WeightsFile::open(&file).expect_err("a cut file").to_string();
    assert!(error.contains("copy or download it again"), "{error}");
}

#[test]
fn an_invalid_entry_is_named() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("in.safetensors");
    for (header, words) in [
        (r#"{"a.weight":{"dtype":"F8_E9M9","shape":[4],"data_offsets":[0,4]}}"#, ["a.weight", "F8_E9M9"]),
        (r#"{"a.weight":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, ["a.weight", "-1"]),
        (r#"{"a.weight":7}"#, ["a.weight", "invalid"]),
        (r#"{"__metadata__":7}"#, ["__metadata__", "object"]),
        (r#"{"a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#, ["safetensors", "header"]),
    ] {
        write(&file, header, b"");
        let error = WeightsFile::open(&file).expect_err(header).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
