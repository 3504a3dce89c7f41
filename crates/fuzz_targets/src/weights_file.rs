//! What must hold of a file of weights.

use crate::input_file::with_file;
use diffusion::torch_file::WeightsFile;

/// Tensors with more bytes are not read: views may repeat a small storage many times.
const LARGEST_READ: u64 = 1 << 20;

/// Lists the tensors of a file, below each root and altogether, and reads those that are small enough.
pub(crate) fn check(bytes: &[u8]) -> bool {
    with_file(bytes, |path| {
        let Ok(file) = WeightsFile::open_skipping_calls(path) else { return false };
        // Refuses unknown calls, and nothing else.
        let _ = WeightsFile::open(path);
        for root in file.roots() {
            let _ = file.list(Some(&root));
        }
        let Ok(listing) = file.list(None) else { return false };
        for (name, tensor) in &listing.tensors {
            if tensor.size() > LARGEST_READ {
                continue;
            }
            let mut length = 0;
            let read = file.read(tensor, &mut |part| {
                length += part.len() as u64;
                Ok(())
            });
            if read.is_ok() {
                assert_eq!(length, tensor.size(), "bytes of tensor {name:?}");
            }
        }
        true
    })
}
