//! What a row's labels say.

use domain::dataset::Reason;

/// Which image is better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither, and why.
    None(Reason, String),
}

/// The verdict of `has_label`, `label_0` and `label_1`.
#[must_use]
#[expect(clippy::float_cmp, reason = "labels are 0, 0.5 or 1 to the bit, or they are no labels")]
pub fn label(has_label: Option<bool>, labels: [Option<f64>; 2]) -> Label {
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
