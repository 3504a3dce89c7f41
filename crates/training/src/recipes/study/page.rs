//! The report of a study as an HTML page, with its images and plots inside.

use super::plot::{Point, Series, Ticks, plot, short};
use anyhow::{Context, Result};
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalogue::study::folder::{Sample, StudyResults};
use domain::ranking::CrossedMean;
use domain::run::metric;
use domain::study::{AblationLine, Curve, EvaluationTable, Measure, Search, StudyReport};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Template)]
#[template(path = "study.html")]
struct Page<'a> {
    report: &'a StudyReport,
    seeds: String,
    sets: Vec<Set<'a>>,
    failures: usize,
}

/// Everything about one set.
struct Set<'a> {
    name: &'a str,
    tables: Vec<Table<'a>>,
    searches: Vec<SearchView<'a>>,
    ablations: Vec<Figure>,
    updates: Vec<Update<'a>>,
    curves: Vec<Figure>,
}

/// One evaluation of a set.
struct Table<'a> {
    evaluation: &'a str,
    measures: Vec<&'static str>,
    rows: Vec<Row<'a>>,
    wins: Vec<Matrix<'a>>,
    methods: Vec<String>,
    samples: Vec<SampleRow<'a>>,
}

struct Row<'a> {
    method: &'a str,
    cells: Vec<Cell>,
}

/// The columns of the table of denoising errors.
const UPDATES: [(&str, &str); 6] = [
    (metric::MSE_REFERENCE_WINNER, "Reference, winners"),
    (metric::MSE_REFERENCE_LOSER, "Reference, losers"),
    (metric::MEAN_A, "Change, winners"),
    (metric::MEAN_B, "Change, losers"),
    (metric::REWARDS_ACCURACIES, "Accuracy"),
    (metric::WEIGHT_DIAGONAL, "Own loser's weight"),
];

/// The last values of a preference method's curves, in the order of [`UPDATES`]; empty where a curve is absent.
struct Update<'a> {
    method: &'a str,
    values: Vec<String>,
}

/// A mean, its interval, and what it says against the base (or a win rate against 50%).
#[derive(Default)]
struct Cell {
    value: String,
    interval: String,
    difference: String,
    class: &'static str,
}

/// Win rates by one metric: a row per method, a column per method that it is compared with.
struct Matrix<'a> {
    measure: &'static str,
    against: Vec<&'a str>,
    rows: Vec<Row<'a>>,
}

/// A prompt with the image of every model, as data URLs.
struct SampleRow<'a> {
    prompt: &'a str,
    images: Vec<String>,
}

struct SearchView<'a> {
    search: &'a Search,
    /// Settings and value of each trial.
    trials: Vec<(String, String, bool)>,
    base: String,
}

struct Figure {
    title: String,
    svg: String,
}

/// The page of a report. Sample images are read from the folder.
///
/// # Errors
/// Fails if a sample image cannot be read.
pub(super) fn page(folder: &Path, results: &StudyResults, report: &StudyReport) -> Result<String> {
    let set = |data: &'_ domain::study::StudyData| -> Result<Set<'_>> {
        let name = report.tables.iter().map(|table| table.data.as_str()).find(|of| *of == data.name);
        let name = name.context("the report lacks a set of its spec")?;
        let tables = report.tables.iter().filter(|table| table.data == name);
        let curves: Vec<&Curve> = report.curves.iter().filter(|curve| curve.data == name).collect();
        let lines: Vec<&AblationLine> = report.ablations.iter().filter(|line| line.data == name).collect();
        Ok(Set {
            name,
            tables: tables.map(|of| table(folder, &results.samples, of)).collect::<Result<_>>()?,
            searches: report.searches.iter().filter(|of| of.data == name).map(search).collect(),
            ablations: lines.into_iter().map(ablation).collect(),
            updates: updates(&curves),
            curves: curve_figures(&curves),
        })
    };
    let sets = results.spec.data.iter().map(set).collect::<Result<_>>()?;
    let seeds = report.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let failures = report.failures.len();
    Page { report, seeds, sets, failures }.render().context("cannot render the report's page")
}

fn table<'a>(folder: &Path, samples: &'a [Sample], of: &'a EvaluationTable) -> Result<Table<'a>> {
    let measures: BTreeSet<Measure> = of.rows.iter().map(|row| row.measure).collect();
    let mut methods: Vec<&str> = Vec::new();
    for row in &of.rows {
        if !methods.contains(&row.method.as_str()) {
            methods.push(&row.method);
        }
    }
    let row = |method: &'a str| Row {
        method,
        cells: measures
            .iter()
            .map(|&measure| {
                let row = of.rows.iter().find(|row| row.method == method && row.measure == measure);
                row.map(|row| cell(measure, row.mean, row.difference)).unwrap_or_default()
            })
            .collect(),
    };
    let wins = measures.iter().filter(|measure| **measure != Measure::Distance);
    Ok(Table {
        evaluation: &of.evaluation,
        measures: measures.iter().map(|measure| measure.label()).collect(),
        rows: methods.iter().copied().map(row).collect(),
        wins: wins.map(|&measure| matrix(of, &methods, measure)).collect(),
        methods: sampled(samples, of).into_iter().map(str::to_owned).collect(),
        samples: sample_rows(folder, samples, of)?,
    })
}

fn cell(measure: Measure, mean: CrossedMean, difference: Option<CrossedMean>) -> Cell {
    let class = difference.and_then(|of| of.interval).map_or("", |[low, high]| {
        // Apart from 0, and on which side.
        if low > 0.0 || high < 0.0 { if measure.is_better(low, 0.0) { "good" } else { "bad" } } else { "" }
    });
    Cell {
        value: format!("{:.4}", mean.mean),
        interval: interval(mean),
        difference: difference.map(|of| format!("{:+.4} {}", of.mean, interval(of))).unwrap_or_default(),
        class,
    }
}

fn interval(of: CrossedMean) -> String {
    of.interval.map_or_else(String::new, |[low, high]| format!("[{low:.4}, {high:.4}]"))
}

fn matrix<'a>(of: &'a EvaluationTable, methods: &[&'a str], measure: Measure) -> Matrix<'a> {
    let rate = |method: &str, against: &str| {
        let of =
            of.wins.iter().find(|of| of.measure == measure && of.method == method && of.against == against);
        let Some(of) = of else { return Cell::default() };
        let percent = |share: f64| 100.0 * share;
        let [low, high] = of.rate.interval.unwrap_or([0.0, 1.0]);
        Cell {
            value: format!("{:.1}%", percent(of.rate.mean)),
            interval: format!("[{:.1}, {:.1}]", percent(low), percent(high)),
            difference: format!("{} / {} / {}", of.wins, of.ties, of.losses),
            class: if low > 0.5 {
                "good"
            } else if high < 0.5 {
                "bad"
            } else {
                ""
            },
        }
    };
    let rows = methods
        .iter()
        .skip(1)
        .map(|&method| Row { method, cells: methods.iter().map(|against| rate(method, against)).collect() });
    Matrix { measure: measure.label(), against: methods.to_vec(), rows: rows.collect() }
}

/// The models with sample images, in the order of the samples.
fn sampled<'a>(samples: &'a [Sample], of: &EvaluationTable) -> Vec<&'a str> {
    let mut models: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.data == of.data && sample.evaluation == of.evaluation)
    {
        if !models.contains(&sample.model.as_str()) {
            models.push(&sample.model);
        }
    }
    models
}

fn sample_rows<'a>(folder: &Path, samples: &'a [Sample], of: &EvaluationTable) -> Result<Vec<SampleRow<'a>>> {
    let models = sampled(samples, of);
    let mut rows: BTreeMap<usize, SampleRow<'a>> = BTreeMap::new();
    let belongs = |sample: &&Sample| sample.data == of.data && sample.evaluation == of.evaluation;
    for sample in samples.iter().filter(belongs) {
        let file = folder.join(&sample.file);
        let png = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let url = format!("data:image/png;base64,{}", STANDARD.encode(png));
        let row = rows.entry(sample.image).or_insert_with(|| SampleRow {
            prompt: &sample.prompt,
            images: vec![String::new(); models.len()],
        });
        if let Some(at) = models.iter().position(|model| *model == sample.model) {
            row.images[at] = url;
        }
    }
    Ok(rows.into_values().collect())
}

fn search(search: &Search) -> SearchView<'_> {
    let value = |value: Option<f64>| value.map_or_else(|| "failed".to_owned(), |value| format!("{value:.4}"));
    let trials = search.trials.iter().map(|trial| {
        let settings: Vec<String> =
            trial.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        (settings.join(", "), value(trial.value), trial.chosen)
    });
    let base = search.base.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.4}"));
    SearchView { search, trials: trials.collect(), base }
}

fn ablation(line: &AblationLine) -> Figure {
    let title = format!("{} by {}, {}", line.measure.label(), line.key, line.evaluation);
    let point = |(x, point): (usize, &domain::study::AblationPoint)| Point {
        x: x as f64,
        y: point.mean.mean,
        interval: point.mean.interval,
    };
    let points = line.points.iter().enumerate().map(point).collect();
    let names = line.points.iter().map(|point| point.value.clone()).collect();
    let series = [Series { label: line.method.clone(), points }];
    let svg = plot(&title, &series, &Ticks::Names(names), line.base);
    let base = line.base.map(|base| format!(" (dashed: base, {})", short(base))).unwrap_or_default();
    Figure { title: format!("{title}, method {}{base}", line.method), svg }
}

/// A row per preference method, in the order of the curves.
fn updates<'a>(curves: &[&'a Curve]) -> Vec<Update<'a>> {
    let mut methods: Vec<&str> = Vec::new();
    for curve in curves.iter().filter(|curve| curve.curve == metric::MEAN_B) {
        methods.push(&curve.method);
    }
    let last = |method: &str, name: &str| {
        let curve = curves.iter().find(|curve| curve.method == method && curve.curve == name)?;
        curve.points.last().map(|point| format!("{:.4}", point.mean.mean))
    };
    let row = |method: &'a str| Update {
        method,
        values: UPDATES.iter().map(|(name, _)| last(method, name).unwrap_or_default()).collect(),
    };
    methods.into_iter().map(row).collect()
}

/// A figure per curve, with a line per method.
fn curve_figures(curves: &[&Curve]) -> Vec<Figure> {
    let names: BTreeSet<&str> = curves.iter().map(|curve| curve.curve.as_str()).collect();
    let figure = |name: &str| {
        let series = curves.iter().filter(|curve| curve.curve == name).map(|curve| Series {
            label: curve.method.clone(),
            points: curve
                .points
                .iter()
                .map(|point| Point {
                    x: point.step as f64,
                    y: point.mean.mean,
                    interval: point.mean.interval,
                })
                .collect(),
        });
        let series: Vec<Series> = series.collect();
        Figure { title: name.to_owned(), svg: plot(name, &series, &Ticks::Numbers, None) }
    };
    names.into_iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::super::write_report;
    use catalogue::study::folder::{self, Sample, StudyResults};
    use domain::study::{Failure, ScoreRow, StudySpec};

    fn spec() -> StudySpec {
        toml::from_str(
            r#"
            name = "tiny"
            base = "shapes"
            seeds = [1, 2]
            budget = { pairs = 32 }
            train = { batch_size = 4, learning_rate.rate = 1e-4 }
            data = [{ name = "winter", set = { source = "shapes", set = "winter", count = 16 } }]
            methods = [{ name = "sft", objective = { kind = "sft" } }]
            ablations = [{ name = "batch", method = "sft", key = "batch_size", values = [4, 8] }]
            evaluate = [{ name = "held_out", prompts = { source = "shapes_held_out", count = 2 } }]
            "#,
        )
        .expect("a spec")
    }

    fn score(model: &str, seed: Option<u64>, image: usize, score: f64) -> ScoreRow {
        let (data, evaluation) = ("winter".to_owned(), "held_out".to_owned());
        let measure = "clip_score".parse().expect("a measure");
        ScoreRow { data, evaluation, model: model.to_owned(), seed, image: Some(image), measure, score }
    }

    #[test]
    fn the_page_shows_tables_plots_samples_and_failures_and_is_made_again_with_the_same_bytes() {
        let scratch = tempfile::tempdir().expect("a folder");
        let image = scratch.path().join("image.png");
        std::fs::write(&image, "png").expect("written");
        let mut scores = Vec::new();
        for image in 0..2 {
            scores.push(score("base", None, image, 0.2));
            for seed in [1, 2] {
                scores.push(score("final/sft", Some(seed), image, 0.3 + 0.01 * seed as f64));
                scores.push(score("ablation/batch/8", Some(seed), image, 0.25));
            }
        }
        let sample = Sample {
            data: "winter".to_owned(),
            evaluation: "held_out".to_owned(),
            model: "sft".to_owned(),
            image: 0,
            prompt: "<b>a circle</b>".to_owned(),
            file: "samples/winter/held_out/00-sft.png".to_owned(),
        };
        let failures = vec![Failure { cell: "final/x".to_owned(), reason: "no <memory>".to_owned() }];
        let results =
            StudyResults { spec: spec(), failures, samples: vec![sample], scores, curves: Vec::new() };
        folder::write(scratch.path(), &results, &[image]).expect("written");
        write_report(scratch.path()).expect("a report");
        let read = |name: &str| std::fs::read_to_string(scratch.path().join(name)).expect("a file");
        let (page, figures) = (read("report.html"), read("report.json"));
        assert!(page.contains("0.3150") && page.contains("+0.1150"), "{page}");
        assert!(page.contains("100.0%") && page.contains("<svg") && page.contains("data:image/png;base64,"));
        assert!(page.contains("&#60;b&#62;a circle") && page.contains("no &#60;memory&#62;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
        write_report(scratch.path()).expect("a report");
        assert_eq!((read("report.html"), read("report.json")), (page, figures));
    }
}
