//! How fast raters answer: seconds per answer, and answers per hour or day.

use crate::Timestamp;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// Seconds between two answers above which the rater was away.
pub const AWAY_AFTER: i64 = 120;

/// Most buckets of an hour; answers that span more hours are counted by day, and if they span more days by week.
pub const MOST_BUCKETS: i64 = 72;

/// Answers in a period.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// When the period begins.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub from: Timestamp,
    /// Hours of the period: 1, 24 or 168.
    pub hours: u32,
    /// Answers in it.
    pub answers: u32,
}

/// The median of the seconds between successive answers of one rater, without those after which the rater was away; none if
/// there are none. `times`: in their order.
#[must_use]
pub fn median_seconds(times: &[Timestamp]) -> Option<f64> {
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let mut gaps: Vec<i64> =
        gaps.filter(|gap| gap.num_seconds() < AWAY_AFTER).filter_map(|gap| gap.num_microseconds()).collect();
    gaps.sort_unstable();
    let middle = gaps.len() / 2;
    let median = match gaps.len() {
        0 => return None,
        odd if odd % 2 == 1 => gaps[middle] as f64,
        _ => (gaps[middle - 1] + gaps[middle]) as f64 / 2.0,
    };
    Some(median / 1e6)
}

/// Answers per hour, or per day or week where they span many, from the first to the last. `times`: in their order.
#[must_use]
pub fn pace(times: &[Timestamp]) -> Vec<Pace> {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Vec::new() };
    let span = (last - first).num_hours();
    let hours = if span < MOST_BUCKETS {
        1
    } else if span < 24 * MOST_BUCKETS {
        24
    } else {
        168
    };
    let length = i64::from(hours) * 3600;
    let begin = first
        - TimeDelta::seconds(first.timestamp().rem_euclid(length))
        - TimeDelta::nanoseconds(i64::from(first.timestamp_subsec_nanos()));
    let mut counts: Vec<u32> = Vec::new();
    for time in times {
        let bucket = usize::try_from((*time - begin).num_seconds() / length).unwrap_or(0);
        if counts.len() <= bucket {
            counts.resize(bucket + 1, 0);
        }
        counts[bucket] += 1;
    }
    let from = |index: usize| begin + TimeDelta::seconds(length * i64::try_from(index).unwrap_or(0));
    counts
        .into_iter()
        .enumerate()
        .map(|(index, answers)| Pace { from: from(index), hours, answers })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{median_seconds, pace};
    use crate::Timestamp;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_timestamp_micros(1_767_225_600_500_000 + (seconds * 1e6) as i64).expect("a time")
    }

    #[test]
    fn time_away_is_no_time_of_an_answer() {
        assert_eq!(median_seconds(&[]), None);
        assert_eq!(median_seconds(&[at(0.0)]), None);
        assert_eq!(median_seconds(&[at(0.0), at(3.0), at(3000.0), at(3005.0)]), Some(4.0));
        assert_eq!(median_seconds(&[at(0.0), at(1.5), at(4.0), at(9.0)]), Some(2.5));
    }

    #[test]
    fn long_campaigns_are_counted_by_day() {
        assert_eq!(pace(&[]), []);
        let hourly = pace(&[at(10.0), at(20.0), at(2.0 * 3600.0 + 1.0)]);
        assert_eq!(hourly.iter().map(|p| (p.hours, p.answers)).collect::<Vec<_>>(), [(1, 2), (1, 0), (1, 1)]);
        assert!(hourly[0].from <= at(0.0));
        let daily = pace(&[at(10.0), at(5.0 * 86_400.0)]);
        assert_eq!((daily.len(), daily[0].hours, daily[0].answers, daily[5].answers), (6, 24, 1, 1));
        let weekly = pace(&[at(10.0), at(100.0 * 86_400.0)]);
        assert_eq!((weekly[0].hours, weekly.iter().map(|p| p.answers).sum::<u32>()), (168, 2));
    }
}
