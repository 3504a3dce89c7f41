//! The server's own clock and entropy. Libraries take both as arguments; this is where they come from.

use domain::Timestamp;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the edge of the binary reads the clock")]
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// A generator seeded by the operating system.
pub(crate) fn generator() -> ChaCha12Rng {
    ChaCha12Rng::from_os_rng()
}

/// Bytes for a new id.
pub(crate) fn entropy() -> [u8; 10] {
    let mut bytes = [0; 10];
    generator().fill_bytes(&mut bytes);
    bytes
}
