use crate::input_file::{temporary_file, with_file};
use crate::weights_file;
use diffusion::torch_file::WeightsFile;

/// The input is the length of the tensors' bytes (16 bits, little-endian) and the JSON header. So the lengths of header
/// and file are right, which mutations of a whole file would rarely achieve.
pub fn safetensors(data: &[u8]) -> bool {
    let Some((length, header)) = data.split_first_chunk() else { return false };
    let tensors = vec![0; usize::from(u16::from_le_bytes(*length))];
    let file = [&(header.len() as u64).to_le_bytes(), header, &tensors].concat();
    if !weights_file::check(&file) {
        return false;
    }
    check_copy(&file);
    true
}

/// A copy that we write has the same tensors.
fn check_copy(file: &[u8]) {
    let copy = temporary_file();
    with_file(file, |path| {
        let Ok(file) = WeightsFile::open(path) else { return };
        let tensors = file.list(None).expect("the tensors of a safetensors file").tensors;
        if file.save(&tensors, copy.path()).is_err() {
            return;
        }
        let copied =
            WeightsFile::open(copy.path()).and_then(|copy| copy.list(None)).expect("a copy of our own");
        let mut expected: Vec<_> = tensors.iter().map(|(name, t)| (name, t.dtype(), t.shape())).collect();
        let mut found: Vec<_> = copied.tensors.iter().map(|(name, t)| (name, t.dtype(), t.shape())).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    });
}
