//! How charts are shown, as the page's address says: range, horizontal axis, scale, smoothing, and which chart is large.

use crate::format::query;
use serde::{Deserialize, Serialize};

/// The horizontal axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Axis {
    #[default]
    Steps,
    /// Images that the updates have seen: comparable between batch sizes.
    Images,
    /// Seconds of training.
    Time,
}

impl Axis {
    pub(crate) const ALL: [Self; 3] = [Self::Steps, Self::Images, Self::Time];

    pub(crate) fn value(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Images => "images",
            Self::Time => "time",
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Steps => "Steps",
            Self::Images => "Images seen",
            Self::Time => "Seconds of training",
        }
    }
}

/// Numbers of steps that smoothing offers.
pub(crate) const SMOOTHINGS: [i64; 11] = [1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// The number of steps that lines average by default: about a fortieth of the run.
pub(crate) fn default_smoothing(steps: i64) -> i64 {
    SMOOTHINGS.into_iter().rev().find(|steps_of| *steps_of <= steps / 40).unwrap_or(1)
}

/// How charts are shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct View {
    /// The first and last value of the horizontal axis; the whole run when absent.
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) axis: Axis,
    pub(crate) log: bool,
    pub(crate) smoothing: i64,
    /// Title of the chart that is large.
    pub(crate) large: Option<String>,
}

impl View {
    /// The view of a query. What cannot be read has its default.
    #[cfg(feature = "ssr")]
    pub(crate) fn read(field: impl Fn(&str) -> Option<String>, default_smoothing: i64) -> Self {
        let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok());
        let axis = field("x");
        let range = match (number("from"), number("to")) {
            (None, None) => None,
            (from, to) => Some((from.unwrap_or(0).max(0), to.unwrap_or(i64::MAX))),
        };
        Self {
            range: range.filter(|(from, to)| from < to),
            axis: Axis::ALL.into_iter().find(|a| axis.as_deref() == Some(a.value())).unwrap_or_default(),
            log: field("scale").as_deref() == Some("log"),
            smoothing: number("smoothing")
                .filter(|steps| (1..=domain::series::MAX_SMOOTHING).contains(steps))
                .unwrap_or(default_smoothing),
            large: field("large").filter(|title| !title.is_empty()),
        }
    }

    /// The query that brings the view back; empty for the default view.
    pub(crate) fn query(&self, default_smoothing: i64) -> String {
        let mut fields = Vec::new();
        if let Some((from, to)) = self.range {
            fields.push(format!("from={from}"));
            if to < i64::MAX {
                fields.push(format!("to={to}"));
            }
        }
        if self.axis != Axis::default() {
            fields.push(format!("x={}", self.axis.value()));
        }
        if self.log {
            fields.push("scale=log".to_owned());
        }
        if self.smoothing != default_smoothing {
            fields.push(format!("smoothing={}", self.smoothing));
        }
        if let Some(title) = &self.large {
            fields.push(format!("large={}", query(title)));
        }
        fields.join("&")
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::{Axis, View, default_smoothing};

    #[test]
    fn an_address_brings_a_view_back() {
        let read = |query: &str| {
            let pairs: Vec<(String, String)> = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(a, b)| (a.into(), b.replace('+', " ")))
                .collect();
            View::read(
                move |name| pairs.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()),
                10,
            )
        };
        let whole = read("");
        assert_eq!((whole.query(10).as_str(), whole.smoothing), ("", 10));
        for view in [
            View {
                range: Some((5, 90)),
                axis: Axis::Images,
                log: true,
                smoothing: 50,
                large: Some("Reward margin".into()),
            },
            View { range: Some((5, i64::MAX)), ..whole.clone() },
            View { axis: Axis::Time, smoothing: 1, ..whole.clone() },
        ] {
            assert_eq!(read(&view.query(10)), view);
        }
        // Nonsense is the default.
        assert_eq!(read("from=9&to=3&x=moon&scale=7&smoothing=-4"), whole);
    }

    #[test]
    fn short_runs_are_hardly_smoothed() {
        assert_eq!([30, 400, 10_000, 1_000_000].map(default_smoothing), [1, 10, 200, 5000]);
    }
}
