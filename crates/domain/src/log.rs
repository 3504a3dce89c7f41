//! Lines that a worker logs for a run.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How grave a line of the log is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What happens.
    Info,
    /// What may need a look.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// The word in the database and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let known = [Self::Info, Self::Warn, Self::Error].into_iter().find(|level| level.as_str() == s);
        known.ok_or_else(|| format!("{s:?} is not a level: use info, warn or error"))
    }
}

/// A line of a run's log.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number, from 1. The first lines of a long log are removed.
    pub line: i64,
    /// When it was logged.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// How grave it is.
    pub level: LogLevel,
    /// The message, with its fields as `name=value`.
    pub message: String,
}
