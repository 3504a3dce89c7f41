use crate::weights_file;

/// What precedes the object in a file of the format before torch 1.6: the magic number, the protocol and an empty dict
/// instead of the system's properties, as pickles.
const HEADER: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
/// What follows the object: the keys of the storages, here `s` alone.
const KEYS: &[u8] = b"\x80\x02]U\x01sa.";
/// The storage: its number of elements, then 4 floats.
const ELEMENTS: u64 = 4;
const STORAGE: [u8; 16] = [0; 16];

/// The input is the pickle of an object whose tensors are views of a storage `s` of 4 floats.
pub fn torch_pickle(data: &[u8]) -> bool {
    weights_file::check(&[HEADER, data, KEYS, &ELEMENTS.to_le_bytes(), &STORAGE].concat())
}
