//! Identifiers: UUID version 7, so that they sort by time of birth. One type each, so that none is taken for another.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// An id born at `now`; `entropy` must be fresh random bytes. Both are arguments so that tests can fix them.
            #[must_use]
            pub fn new(now: Timestamp, entropy: [u8; 10]) -> Self {
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }
    )+};
}

ids! {
    /// A piece of queued work.
    JobId,
    /// One execution of a training job and its curves.
    RunId,
    /// A checkpoint that can generate.
    ModelId,
    /// A picture.
    ImageId,
    /// Two pictures shown to a rater.
    MatchupId,
    /// A rater's answer to a matchup.
    VoteId,
    /// A person (or browser) who votes.
    RaterId,
}
