//! Numbers, times and URLs as text. No clock and no locale, so that the server and the browser render the same text.

#[cfg(feature = "ssr")]
use {domain::Timestamp, domain::api::ModelScore, domain::evaluate::Metric};

/// Four significant digits without trailing zeros; scientific notation below 1e-4 and from 1e6 on.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "not a number".into() } else { "infinite".into() };
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
    let decimals = (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A share from 0 to 1 as a percentage with one decimal.
#[cfg(feature = "ssr")]
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// `23 Nov, 14:05 UTC`.
#[cfg(feature = "ssr")]
pub(crate) fn moment(time: Timestamp) -> String {
    time.format("%-d %b, %H:%M UTC").to_string()
}

/// The time between two moments in its two largest units, such as `3 min 20 s`.
#[cfg(feature = "ssr")]
pub(crate) fn duration(from: Timestamp, to: Timestamp) -> String {
    units((to - from).num_seconds().max(0))
}

/// Milliseconds in the two largest units of seconds and more.
#[cfg(feature = "ssr")]
pub(crate) fn seconds(milliseconds: i64) -> String {
    units(milliseconds.max(0) / 1000)
}

/// A number of seconds in its two largest units, rounded up.
#[cfg(feature = "ssr")]
pub(crate) fn left(seconds: f64) -> String {
    units(seconds.max(0.0).ceil() as i64)
}

#[cfg(feature = "ssr")]
fn units(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The display name of an objective's kind.
#[cfg(feature = "ssr")]
pub(crate) fn objective(kind: &str) -> &str {
    match kind {
        "denoise" => "Denoising",
        "sft" => "SFT",
        "diffusion_dpo" => "Diffusion-DPO",
        "diffusion_lpo" => "Diffusion-LPO",
        "diff_contrast" => "Diff-contrast",
        "rpo" => "RPO",
        other => other,
    }
}

/// Percent-encodes a query value; a space becomes `+`.
pub(crate) fn query(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (byte as char).to_string(),
            b' ' => "+".into(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A count with its noun: `1 vote`, `2 votes`.
pub(crate) fn count(n: i64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// A size in the decimal unit that leaves one to three digits before the point: `3.4 GB`.
#[cfg(feature = "ssr")]
#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 999.5 {
            let decimals = usize::from(value < 9.95 && unit != "bytes");
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A score, a mean of scores or a difference of them, in the unit of the metric.
#[cfg(feature = "ssr")]
pub(crate) fn metric_value(metric: Metric, value: f64) -> String {
    match metric {
        Metric::ShapeAndColour | Metric::PromptFollowed => percent(value),
        Metric::HpsV20 | Metric::HpsV21 | Metric::PickScore | Metric::Aesthetic => format!("{value:.2}"),
        Metric::ClipScore
        | Metric::Clarity
        | Metric::ClipScoreH14
        | Metric::ClipScoreL14
        | Metric::ImageReward => format!("{value:.3}"),
    }
}

/// A mean score and half the width of its interval.
#[cfg(feature = "ssr")]
pub(crate) fn score(score: &ModelScore) -> String {
    match score.metric {
        Metric::ShapeAndColour | Metric::PromptFollowed => {
            format!("{} ± {:.1}", percent(score.mean), score.half_width * 100.0)
        }
        Metric::HpsV20 | Metric::HpsV21 | Metric::PickScore | Metric::Aesthetic => {
            format!("{:.2} ± {:.2}", score.mean, score.half_width)
        }
        Metric::ClipScore
        | Metric::Clarity
        | Metric::ClipScoreH14
        | Metric::ClipScoreL14
        | Metric::ImageReward => {
            format!("{:.3} ± {:.3}", score.mean, score.half_width)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{number, percent, query};

    #[test]
    fn numbers_have_four_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.693_12, "0.6931"),
            (0.5, "0.5"),
            (1234.5678, "1235"),
            (12.3456, "12.35"),
            (-0.012_346, "-0.01235"),
            (0.000_001, "1.00e-6"),
            (f64::NAN, "not a number"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(percent(0.8764), "87.6%");
    }

    #[test]
    #[cfg(feature = "ssr")]
    fn sizes_have_decimal_units() {
        for (count, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (12_345, "12 kB"),
            (3_438_000_000, "3.4 GB"),
        ] {
            assert_eq!(super::bytes(count), text);
        }
    }

    #[test]
    fn query_values_are_percent_encoded() {
        assert_eq!(query("a red & blue ö"), "a+red+%26+blue+%C3%B6");
    }
}
