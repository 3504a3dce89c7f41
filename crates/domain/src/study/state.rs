//! Studies and cells as rows and bodies.

use super::cell::CellKind;
use super::spec::StudySpec;
use crate::Timestamp;
use crate::id::{JobId, StudyId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// State of a study.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyState {
    /// Cells are left to do.
    Running,
    /// Every cell has ended, or cannot run because another failed.
    Finished,
    /// Stopped on request.
    Cancelled,
}

impl StudyState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Running, Self::Finished, Self::Cancelled];

    /// The value in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StudyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StudyState {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a state of a study: use running, finished or cancelled"))
    }
}

/// A study.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Id of the study.
    pub id: StudyId,
    /// Its spec.
    pub spec: StudySpec,
    /// Its state.
    pub state: StudyState,
    /// When it was submitted.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it finished or was cancelled.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
}

/// A study with its progress.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudySummary {
    /// The study.
    pub study: Study,
    /// Its cells, in the order in which they are submitted.
    pub cells: Vec<StudyCell>,
    /// Cells that have ended or cannot run.
    pub done: usize,
    /// Expected seconds of computation that are left, by the mean time of finished cells of each kind; none before a cell has
    /// finished.
    pub estimate: Option<f64>,
}

/// A study in a list.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyOverview {
    /// The study.
    pub study: Study,
    /// Number of its cells.
    pub cells: usize,
    /// Cells that have ended or cannot run.
    pub done: usize,
    /// Of these, cells that did not succeed.
    pub failed: usize,
    /// Expected seconds of computation that are left; none before a cell has finished.
    pub estimate: Option<f64>,
}

impl StudySummary {
    /// The study without its cells.
    #[must_use]
    pub fn overview(self) -> StudyOverview {
        let failed = self.cells.iter().filter(|cell| cell.is_done() && cell.state != "succeeded").count();
        let Self { study, cells, done, estimate } = self;
        StudyOverview { study, cells: cells.len(), done, failed, estimate }
    }
}

/// A cell of a study: one job.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyCell {
    /// Its stable name in the study.
    pub key: String,
    /// Its kind.
    pub kind: CellKind,
    /// `waiting` and `blocked` before it is submitted, then the state of its job.
    pub state: String,
    /// Its job, once submitted.
    pub job: Option<JobId>,
    /// Steps or images done.
    pub progress: i64,
    /// Steps or images in total; 0 until known.
    pub total: i64,
    /// Why it failed, or the cell that it cannot do without.
    pub error: Option<String>,
    /// Seconds from its first claim to its end.
    pub seconds: Option<f64>,
}

impl StudyCell {
    /// Whether nothing is left to do for it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled" | "blocked")
    }
}
