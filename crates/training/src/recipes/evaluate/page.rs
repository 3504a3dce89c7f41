//! The report as an HTML page, and the scores as a CSV table.

use super::prompts::Task;
use super::scored::Scored;
use anyhow::{Context, Result};
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::evaluate::{EvaluationReport, Extreme, MetricComparison};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Reads the PNG file of a model's image, by the model's name and the prompt's index.
pub(super) type Gallery<'a> = &'a dyn Fn(&str, usize) -> Result<Vec<u8>>;

#[derive(Template)]
#[template(path = "evaluation.html")]
struct Page<'a> {
    report: &'a EvaluationReport,
    sections: Vec<Section<'a>>,
    /// The first prompts with the image of every model.
    rows: Vec<PromptRow<'a>>,
    /// Whether any prompt has a category.
    categories: bool,
    /// Warnings about the distances, each once.
    warnings: BTreeSet<&'a str>,
}

/// A prompt with one image per model, in the order of the models, as data URLs.
struct PromptRow<'a> {
    prompt: &'a str,
    images: Vec<String>,
}

/// Prompts that are shown with the images of every model.
const SIDE_BY_SIDE: usize = 12;

/// The images of a comparison.
struct Section<'a> {
    comparison: &'a MetricComparison,
    baseline: &'a str,
    won: Vec<Pair<'a>>,
    lost: Vec<Pair<'a>>,
}

/// Two images of one prompt, as data URLs.
struct Pair<'a> {
    extreme: &'a Extreme,
    ours: String,
    theirs: String,
}

/// The HTML page of a report, with its images inside.
///
/// # Errors
/// Fails if an image cannot be read.
pub(super) fn page<'a>(
    report: &'a EvaluationReport,
    tasks: &'a [Task],
    gallery: Gallery<'_>,
) -> Result<String> {
    let data_url = |model: &str, index: usize| -> Result<String> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(gallery(model, index)?)))
    };
    let mut sections = Vec::new();
    for comparison in &report.comparisons {
        let pairs = |extremes: &'a [Extreme]| -> Result<Vec<Pair<'a>>> {
            let mut pairs = Vec::new();
            for extreme in extremes {
                let ours = data_url(&comparison.model, extreme.index)?;
                pairs.push(Pair { extreme, ours, theirs: data_url(&report.baseline, extreme.index)? });
            }
            Ok(pairs)
        };
        let (won, lost) = (pairs(&comparison.won_most)?, pairs(&comparison.lost_most)?);
        sections.push(Section { comparison, baseline: &report.baseline, won, lost });
    }
    let mut rows = Vec::new();
    for (index, task) in tasks.iter().enumerate().take(SIDE_BY_SIDE) {
        let images = report.models.iter().map(|model| data_url(&model.model, index));
        rows.push(PromptRow { prompt: &task.prompt, images: images.collect::<Result<_>>()? });
    }
    let categories = report.comparisons.iter().any(|comparison| !comparison.categories.is_empty());
    let distances = report.models.iter().filter_map(|model| model.fid.as_ref());
    let warnings = distances.flat_map(|fid| &fid.warnings).map(String::as_str).collect();
    Page { report, sections, rows, categories, warnings }.render().context("cannot render the report's page")
}

/// All scores as CSV, one line each.
pub(super) fn table(tasks: &[Task], seed: u64, scored: &[Scored]) -> String {
    let mut text = "model,index,category,prompt,seed,metric,score\n".to_owned();
    for Scored { model, scores, .. } in scored {
        for (metric, scores) in scores {
            for (i, (task, score)) in tasks.iter().zip(scores).enumerate() {
                let Some(score) = score else { continue };
                let (model, category, prompt) = (cell(model), cell(&task.category), cell(&task.prompt));
                let seed = seed + i as u64;
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{model},{i},{category},{prompt},{seed},{},{score}", metric.as_str());
            }
        }
    }
    text
}

/// A CSV field, quoted if it has a comma, a quotation mark or a line break (RFC 4180).
fn cell(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{cell, page};
    use crate::recipes::evaluate::prompts::Task;
    use crate::recipes::evaluate::report::report;
    use crate::recipes::evaluate::scored::Scored;
    use domain::evaluate::Metric;
    use std::collections::BTreeMap;

    #[test]
    fn without_a_metric_the_page_shows_every_image_and_what_the_metrics_need() {
        let task = Task { prompt: "a cat".to_owned(), category: String::new() };
        let scored = |model: &str| Scored {
            model: model.to_owned(),
            sha256: "0".to_owned(),
            scores: BTreeMap::new(),
            fid: None,
        };
        let (tasks, models) = (vec![task; 20], [scored("base"), scored("tuned")]);
        let report = report(&tasks, 0, "base", &models, BTreeMap::new());
        assert_eq!(report.not_measured.keys().copied().collect::<Vec<_>>(), Metric::ALL);
        let page = page(&report, &tasks, &|_, _| Ok(Vec::new())).expect("a page");
        assert_eq!(page.matches("<img").count(), 2 * super::SIDE_BY_SIDE);
        assert!(page.contains("HPS_v2.1_compressed.pt") && page.contains("PickScore_v1"), "{page}");
    }

    #[test]
    fn csv_fields_are_quoted_if_needed() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }

    #[test]
    fn the_page_embeds_its_images_and_escapes_prompts() {
        let task = Task { prompt: "<b>bold</b>".to_owned(), category: "c".to_owned() };
        let scored = |model: &str, score| Scored {
            model: model.to_owned(),
            sha256: "0".to_owned(),
            scores: [(Metric::ClipScore, vec![Some(score)])].into(),
            fid: None,
        };
        let models = [scored("base", 0.1), scored("tuned", 0.2)];
        let tasks = [task];
        let report = report(&tasks, 0, "base", &models, BTreeMap::new());
        let page =
            page(&report, &tasks, &|model, i| Ok(format!("{model} {i}").into_bytes())).expect("a page");
        // The largest win, and the prompt with the images of both models.
        assert_eq!(page.matches("data:image/png;base64,").count(), 4);
        assert!(page.contains("&#60;b&#62;bold") && !page.contains("<b>bold"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    }
}
