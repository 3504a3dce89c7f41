//! The clock and the operating system's entropy. Only programs read them; libraries take both as arguments.

use domain::Timestamp;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// The current time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// A random generator seeded by the operating system.
///
/// # Panics
/// Panics if the operating system provides no random bytes, which does not happen on Linux after boot.
#[must_use]
pub fn generator() -> ChaCha12Rng {
    ChaCha12Rng::from_os_rng()
}

/// Random bytes, for ids and tokens.
///
/// # Panics
/// Panics if the operating system provides no random bytes, as [`generator`] does.
#[must_use]
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    generator().fill_bytes(&mut bytes);
    bytes
}
