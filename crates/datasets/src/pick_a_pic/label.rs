//! The verdict of a row's label columns.

use domain::dataset::Reason;

/// Which image wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    First,
    Second,
    /// There is no winner, for this reason and with this detail.
    None(Reason, String),
}

/// The verdict of `has_label`, `label_0` and `label_1`.
#[expect(clippy::float_cmp, reason = "only labels of exactly 0, 0.5 or 1 are valid")]
pub(crate) fn label(has_label: Option<bool>, labels: [Option<f64>; 2]) -> Label {
    if has_label == Some(false) {
        return Label::None(Reason::NoLabel, "has_label is false".to_owned());
    }
    match labels {
        [Some(first), Some(second)] if first == 1.0 && second == 0.0 => Label::First,
        [Some(first), Some(second)] if first == 0.0 && second == 1.0 => Label::Second,
        [Some(first), Some(second)] if first == 0.5 && second == 0.5 => {
            Label::None(Reason::Tie, "both labels are 0.5".to_owned())
        }
        [Some(first), Some(second)] if !first.is_nan() && !second.is_nan() => {
            Label::None(Reason::BadLabel, format!("label_0 is {first} and label_1 is {second}"))
        }
        _ => Label::None(Reason::NoLabel, "label_0 or label_1 is null".to_owned()),
    }
}
