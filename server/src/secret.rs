//! Secrets that are told once and stored as hashes: keys of campaigns, tokens of invitations.

use process::ambient;

/// A new secret of 160 random bits, in hexadecimal.
pub(crate) fn new_secret() -> String {
    ambient::entropy::<20>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash under which a secret is stored.
pub(crate) fn hashed(secret: &str) -> String {
    files::sha256::of_bytes(secret.as_bytes())
}
