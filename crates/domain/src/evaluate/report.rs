//! The files of an evaluation's report.

use crate::id::JobId;
use std::str::FromStr;

/// A file of an evaluation's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFile {
    /// One HTML page with all figures and images.
    Page,
    /// The figures as JSON.
    Figures,
    /// Every score, one per line, as CSV.
    Scores,
}

impl ReportFile {
    /// All files of a report.
    pub const ALL: [Self; 3] = [Self::Page, Self::Figures, Self::Scores];

    /// The file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "report.html",
            Self::Figures => "report.json",
            Self::Scores => "scores.csv",
        }
    }

    /// The value of the Content-Type header.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Figures => "application/json",
            Self::Scores => "text/csv; charset=utf-8",
        }
    }

    /// Key of the file in the artifact store, for an evaluation that ran as a job.
    #[must_use]
    pub fn artifact(self, job: JobId) -> String {
        format!("evaluations/{job}/{}", self.name())
    }
}

impl FromStr for ReportFile {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|file| file.name() == s).ok_or_else(|| {
            format!("{s:?} is not a file of a report: use one of {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}
