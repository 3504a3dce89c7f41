//! What a study measures of a model.

use crate::evaluate::Metric;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is measured of a model: a metric of its images, or the distance of all its images from a reference set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// The mean of a metric; higher is better.
    Metric(Metric),
    /// The Frechet distance from the images that `fid` names; lower is better.
    Distance,
}

/// The name of [`Measure::Distance`] in specs and tables.
const DISTANCE: &str = "distance";

impl Measure {
    /// Whether the first value is better than the second.
    #[must_use]
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Metric(_) => value > than,
            Self::Distance => value < than,
        }
    }

    /// The value in specs, bodies and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metric(metric) => metric.as_str(),
            Self::Distance => DISTANCE,
        }
    }

    /// The name on pages and in reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Metric(metric) => metric.label(),
            Self::Distance => "Distance",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Measure {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if s == DISTANCE {
            return Ok(Self::Distance);
        }
        s.parse().map(Self::Metric).map_err(|error: String| format!("{error}, or {DISTANCE}"))
    }
}

impl TryFrom<String> for Measure {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.as_str().to_owned()
    }
}
