//! Secrets that are told once and stored as hashes: keys of campaigns, tokens of invitations.

use process::ambient;
use sha2::{Digest, Sha256};

/// A new secret of 160 random bits, in hexadecimal.
pub(crate) fn new_secret() -> String {
    hexadecimal(&ambient::entropy::<20>())
}

/// The SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
