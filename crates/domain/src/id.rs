//! Identifiers: UUID version 7, which sort by creation time with a resolution of a quarter of a microsecond. Each
//! kind has its own type, so that the compiler refuses a mix-up.

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
            /// A new id. `entropy` must be fresh random bytes. Time and randomness are arguments so that tests can
            /// fix them.
            #[must_use]
            pub fn new(now: Timestamp, entropy: [u8; 10]) -> Self {
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                // The first 12 bits after the milliseconds hold the fraction of a millisecond (RFC 9562, section 6.2,
                // method 3).
                let fraction = (now.timestamp_subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
                let mut bytes = entropy;
                [bytes[0], bytes[1]] = (fraction as u16).to_be_bytes();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
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
    /// A queued piece of work.
    JobId,
    /// An execution of a training job.
    RunId,
    /// A checkpoint that can generate images.
    ModelId,
    /// Whose images are judged: a model, under the model's id, or a model with adapters, under an id of its own.
    ContestantId,
    /// An image.
    ImageId,
    /// Two images shown to a rater.
    MatchupId,
    /// An answer of a rater to a matchup.
    VoteId,
    /// A person who votes, identified by a browser cookie.
    RaterId,
    /// Methods, data sets and seeds that are compared.
    StudyId,
    /// Models that are judged by rules of their own.
    CampaignId,
    /// A link that opens the desk of one campaign.
    InvitationId,
}

impl From<ModelId> for ContestantId {
    fn from(model: ModelId) -> Self {
        Self(model.0)
    }
}

#[cfg(test)]
mod tests {
    use super::JobId;
    use chrono::{DateTime, TimeDelta, Utc};

    #[test]
    fn ids_of_one_millisecond_sort_by_time() {
        let start = DateTime::<Utc>::from_timestamp_millis(1_700_000_000_123).expect("a time");
        let at = |nanos, entropy| JobId::new(start + TimeDelta::nanoseconds(nanos), [entropy; 10]);
        let ids = [at(0, 255), at(250, 0), at(500_000, 255), at(500_250, 0), at(999_999, 255)];
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(at(999_999, 255) < at(1_000_000, 0), "ids of the next millisecond come later");
        assert_eq!(at(250, 7).0.get_version_num(), 7);
        assert_ne!(at(250, 7), at(250, 8));
    }
}
