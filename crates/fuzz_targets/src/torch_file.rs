use crate::weights_file;

/// The input is a whole file: a zip archive, the format before torch 1.6, or safetensors.
pub fn torch_file(data: &[u8]) -> bool {
    weights_file::check(data)
}
