//! What can be said of a run in one paragraph, from stored figures only.

use crate::format::{duration, number, percent};
use domain::api::{RunSeries, ScoreAgainstBase, Series};
use domain::evaluate::Metric;
use domain::job::{Job, JobState};
use domain::run::{Run, metric};

/// The metrics that decide the verdict, the first one that was measured.
const DECISIVE: [Metric; 9] = [
    Metric::PromptFollowed,
    Metric::ShapeAndColour,
    Metric::HpsV21,
    Metric::PickScore,
    Metric::ImageReward,
    Metric::HpsV20,
    Metric::ClipScoreH14,
    Metric::ClipScoreL14,
    Metric::ClipScore,
];

/// The sentences of a run. `curves` must cover the whole run.
pub(crate) fn verdict(run: &Run, job: &Job, curves: &RunSeries, scores: &[ScoreAgainstBase]) -> String {
    let curve = |name: &str| curves.series.iter().find(|series| series.metric == name);
    let sentences = [
        Some(progress(run, job)),
        curve(metric::REWARDS_ACCURACIES).and_then(accuracy).or_else(|| curve(metric::LOSS).and_then(loss)),
        curve(metric::VALIDATION_LOSS).and_then(validation),
        DECISIVE
            .into_iter()
            .find_map(|metric| scores.iter().find(|score| score.metric == metric))
            .map(against_base),
    ];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn progress(run: &Run, job: &Job) -> String {
    let steps = i64::from(run.spec.steps);
    let took = job.started_at.zip(job.finished_at);
    let took = took.map(|(start, end)| format!(" in {}", duration(start, end))).unwrap_or_default();
    match run.state {
        JobState::Succeeded => format!("Finished after {} steps{took}.", run.step),
        JobState::Failed => format!("Failed after {} of {steps} steps{took}.", run.step),
        JobState::Cancelled => format!("Stopped on request after {} of {steps} steps{took}.", run.step),
        JobState::Running | JobState::Queued => format!("At step {} of {steps}.", run.step),
    }
}

fn accuracy(series: &Series) -> Option<String> {
    let recent = series.recent?;
    let chance = if recent.mean < 0.5 { ", below chance" } else { "" };
    Some(format!(
        "Implicit accuracy {}{chance} (mean of the last {} steps).",
        percent(recent.mean),
        recent.steps
    ))
}

fn loss(series: &Series) -> Option<String> {
    let recent = series.recent?;
    Some(format!("Loss {} (mean of the last {} steps).", number(recent.mean), recent.steps))
}

fn validation(series: &Series) -> Option<String> {
    let (first, last) = (series.first?, series.last?);
    let (Some(start), Some(end)) = (first.value, last.value) else {
        return Some("The validation loss is not finite.".to_owned());
    };
    let of_last = format!("Validation loss {} at step {}", number(end), last.step);
    if first.step == last.step {
        return Some(format!("{of_last}."));
    }
    let change = number((end - start).abs());
    Some(if end > start {
        format!("{of_last}, {change} above step {}: on held-out examples the model got worse.", first.step)
    } else if end < start {
        format!("{of_last}, {change} below step {}.", first.step)
    } else {
        format!("{of_last}, as at step {}.", first.step)
    })
}

fn against_base(score: &ScoreAgainstBase) -> String {
    let rate = score.win_rate;
    let whole = |share: f64| format!("{:.0}", share * 100.0);
    let meaning = if rate.high < 0.5 {
        "the model got worse than its base"
    } else if rate.low > 0.5 {
        "the model got better than its base"
    } else {
        "no difference is shown"
    };
    format!(
        "Of {} evaluation images, {}% [{}, {}] score higher than its base's ({}): {meaning}.",
        rate.votes,
        whole(rate.value),
        whole(rate.low),
        whole(rate.high),
        score.metric.label()
    )
}

#[cfg(test)]
mod tests {
    use super::{against_base, validation};
    use domain::api::{ScoreAgainstBase, Series};
    use domain::evaluate::Metric;
    use domain::ranking::win_rate;
    use domain::series::point;

    #[test]
    fn a_verdict_says_when_the_model_got_worse() {
        let series = |first, last| Series {
            metric: "validation/loss".into(),
            buckets: Vec::new(),
            first: Some(point(first)),
            last: Some(point(last)),
            recent: None,
        };
        let text = validation(&series((100, 0.6), (400, 0.65))).expect("a sentence");
        assert_eq!(
            text,
            "Validation loss 0.65 at step 400, 0.05 above step 100: on held-out examples the model got worse."
        );
        let text = validation(&series((100, 0.68), (400, 0.66))).expect("a sentence");
        assert_eq!(text, "Validation loss 0.66 at step 400, 0.02 below step 100.");
        assert_eq!(
            validation(&series((400, 0.66), (400, 0.66))).expect("a sentence"),
            "Validation loss 0.66 at step 400."
        );
        let text = validation(&series((100, 0.6), (400, f64::NAN))).expect("a sentence");
        assert_eq!(text, "The validation loss is not finite.");
    }

    #[test]
    fn a_win_rate_counts_as_better_or_worse_only_outside_of_its_interval() {
        let score = |wins, losses| {
            against_base(&ScoreAgainstBase {
                run_id: "0199c5a8-7d3e-7f00-8000-0123456789ab".parse().expect("an id"),
                model: "m".into(),
                metric: Metric::PromptFollowed,
                mean: 0.5,
                base_mean: 0.5,
                win_rate: win_rate(wins, losses, 0).expect("a rate"),
            })
        };
        assert_eq!(
            score(570, 430),
            "Of 1000 evaluation images, 57% [54, 60] score higher than its base's (Prompt followed): the model got better than its base."
        );
        assert!(score(10, 40).contains("worse"));
        assert!(score(11, 9).contains("no difference"));
    }
}
