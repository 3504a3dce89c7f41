//! The report of an evaluation: averages, comparisons with the baseline, agreement of the metrics. A pure function of
//! the scores, so a resumed evaluation reports the same.

use super::agreement::agreements;
use super::comparison::compare;
use super::prompts::Task;
use super::scored::{Scored, pairs};
use super::summary::summary;
use diffusion::noise::Noise;
use domain::evaluate::{EvaluationReport, Metric, ScoredModel};
use std::collections::BTreeMap;

/// Computes the report. `baseline` is the name of one of the models; `statements` of metrics without a score are
/// omitted.
pub(super) fn report(
    tasks: &[Task],
    seed: u64,
    baseline: &str,
    models: &[Scored],
    mut statements: BTreeMap<Metric, String>,
) -> EvaluationReport {
    let reference = models.iter().find(|scored| scored.model == baseline);
    let mut comparisons = Vec::new();
    for scored in models.iter().filter(|scored| scored.model != baseline) {
        for &metric in scored.scores.keys() {
            let noise = Noise::stream(seed, comparisons.len() as u64);
            let pairs = reference.map(|reference| pairs(scored, reference, metric)).unwrap_or_default();
            comparisons.extend(compare(tasks, &scored.model, metric, &pairs, noise));
        }
    }
    let summaries: Vec<ScoredModel> = models.iter().map(|scored| summary(tasks, scored)).collect();
    let is_measured = |metric: &Metric| {
        summaries.iter().any(|model| model.metrics.iter().any(|found| found.metric == *metric))
    };
    statements.retain(|metric, _| is_measured(metric));
    let missing = Metric::ALL.into_iter().filter(|metric| !is_measured(metric));
    let not_measured = missing.map(|metric| (metric, metric.needs().to_owned())).collect();
    EvaluationReport {
        not_measured,
        cut: None,
        prompts: tasks.len(),
        seed,
        baseline: baseline.to_owned(),
        models: summaries,
        comparisons,
        agreements: reference.map(|reference| agreements(models, reference)).unwrap_or_default(),
        statements,
    }
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::recipes::evaluate::prompts::Task;
    use crate::recipes::evaluate::scored::Scored;
    use domain::evaluate::{Extreme, Metric};
    use std::collections::BTreeMap;

    fn task(prompt: &str, category: &str) -> Task {
        Task { prompt: prompt.to_owned(), category: category.to_owned() }
    }

    fn scored(model: &str, clip: &[f64], rule: &[Option<f64>]) -> Scored {
        let clip = clip.iter().copied().map(Some).collect();
        let scores = [(Metric::ClipScore, clip), (Metric::ShapeAndColour, rule.to_vec())];
        Scored { model: model.to_owned(), sha256: String::new(), scores: scores.into(), fid: None }
    }

    #[test]
    fn figures_equal_a_worked_example() {
        let tasks = [task("p", "x"), task("q", "x"), task("r", "y"), task("s", "")];
        let base = scored("base", &[0.1, 0.2, 0.3, 0.4], &[Some(0.0), Some(0.0), Some(1.0), None]);
        let tuned = scored("tuned", &[0.5, 0.1, 0.3, 0.8], &[Some(1.0), Some(0.0), Some(1.0), None]);
        let report = report(&tasks, 7, "base", &[base, tuned], BTreeMap::new());

        let clip = &report.models[1].metrics[0];
        assert_eq!((clip.count, clip.median), (4, 0.4));
        assert!((clip.mean - 0.425).abs() < 1e-12);
        assert_eq!(clip.categories.keys().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(report.models[1].metrics[1].count, 3);

        assert_eq!(report.comparisons.len(), 2);
        let of_clip = &report.comparisons[0];
        assert_eq!((of_clip.overall.wins, of_clip.overall.losses, of_clip.overall.ties), (2, 1, 1));
        assert!((of_clip.overall.win_rate.value - 0.625).abs() < 1e-12);
        assert!((of_clip.difference[0] - 0.175).abs() < 1e-12);
        assert!(of_clip.difference[1] <= 0.175 && of_clip.difference[2] >= 0.175);
        assert_eq!((of_clip.categories["x"].wins, of_clip.categories["x"].losses), (1, 1));
        let extremes = |of: &[Extreme]| of.iter().map(|e| e.index).collect::<Vec<_>>();
        assert_eq!((extremes(&of_clip.won_most), extremes(&of_clip.lost_most)), (vec![0, 3], vec![1]));

        // By both metrics, prompts 0 to 2 are: better and better, worse and equal, equal and equal.
        let agreement = &report.agreements[0];
        assert_eq!((agreement.decided, agreement.same), (1, 1));
        assert!(agreement.kappa.is_some_and(|k| k > 0.0 && k < 1.0), "{agreement:?}");
    }

    #[test]
    fn a_single_model_has_a_summary_and_no_comparisons() {
        let report = report(&[task("p", "")], 0, "a", &[scored("a", &[0.5], &[None])], BTreeMap::new());
        assert!(report.comparisons.is_empty() && report.models.len() == 1);
        assert_eq!(report.models[0].metrics.len(), 1, "a metric without scores has no summary");
    }
}
