//! Validation of a study: its own fields, and every training and evaluation spec that it expands into.

use super::cell::{Cell, slug};
use super::expand::{Own, RESERVED};
use super::plan::cells;
use super::settings::{Settings, text};
use super::spec::{StudyEvaluation, StudySpec};
use crate::evaluate::PromptSpec;
use crate::limits::{MAX_MODELS, MAX_NAME_BYTES, MAX_SEED};
use crate::name::is_name;
use crate::problem::Problems;
use serde_json::Value;
use std::collections::BTreeSet;

/// Most cells of a study.
const MAX_CELLS: usize = 10_000;
/// Longest name of a part of a study, in bytes.
const MAX_PART_BYTES: usize = 40;

impl StudySpec {
    /// # Errors
    /// Returns every field that is invalid or contradicts another, and what every run and evaluation of the study would be
    /// refused for.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        let name = self.name.as_str();
        p.require(is_name(name), "name", "use letters, digits, '-', '_' or '.', not starting with '.'");
        p.require(!self.base.trim().is_empty(), "base", "name the model that every method starts from");
        p.require(!self.seeds.is_empty(), "seeds", "give at least one seed, or three for intervals");
        p.require(self.seeds.iter().all(|&seed| seed <= MAX_SEED), "seeds", format!("use 0 to {MAX_SEED}"));
        p.require(is_unique(self.seeds.iter()), "seeds", "a seed is listed twice: remove one");
        p.require(self.budget.pairs > 0, "budget.pairs", "use 1 or more");
        reserved("train", &self.train, &mut p);
        self.validate_data(&mut p);
        self.validate_methods(&mut p);
        self.validate_ablations(&mut p);
        self.validate_evaluations(&mut p);
        self.validate_tuning(&mut p);
        self.validate_size(&mut p);
        // The cells can only be expanded if names refer to something.
        if p.0.is_empty() {
            self.validate_cells(&mut p);
        }
        p.into_result()
    }

    fn validate_data(&self, p: &mut Problems) {
        p.require(!self.data.is_empty(), "data", "name at least one set");
        names("data", self.data.iter().map(|data| data.name.as_str()), p);
        for (i, data) in self.data.iter().enumerate() {
            reserved(&format!("data.{i}.train"), &data.train, p);
        }
    }

    fn validate_methods(&self, p: &mut Problems) {
        p.require(!self.methods.is_empty(), "methods", "name at least one method");
        p.require(
            self.methods.len() < MAX_MODELS,
            "methods",
            format!("give at most {}: an evaluation compares them and the base", MAX_MODELS - 1),
        );
        names("methods", self.methods.iter().map(|method| method.name.as_str()), p);
        for (i, method) in self.methods.iter().enumerate() {
            let field = |name: &str| format!("methods.{i}.{name}");
            reserved(&field("train"), &method.train, p);
            if let Some(after) = &method.after {
                let is_earlier = self.methods[..i].iter().any(|earlier| earlier.name == *after);
                p.require(is_earlier, field("after"), format!("{after:?} is no earlier method of the list"));
            }
            for (key, values) in &method.search {
                let field = format!("methods.{i}.search.{key}");
                reserved_key(&field, key, p);
                values_are_plain(&field, values, p);
            }
            let searches = !method.search.is_empty();
            p.require(!(searches && method.untuned), field("untuned"), "the method has a search: remove one");
        }
        self.validate_trials(p);
    }

    /// Every method that searches has as many trials as the others.
    fn validate_trials(&self, p: &mut Problems) {
        let product = |i: usize| {
            self.methods[i].search.values().fold(1_usize, |n, values| n.saturating_mul(values.len()))
        };
        let searching: Vec<usize> =
            (0..self.methods.len()).filter(|&i| !self.methods[i].search.is_empty()).collect();
        let Some(&first) = searching.first() else { return };
        p.require(self.tuning.is_some(), "tuning", "say by which metric and prompts the search is decided");
        for (i, method) in self.methods.iter().enumerate() {
            if method.search.is_empty() {
                p.require(
                    method.untuned,
                    format!("methods.{i}.search"),
                    format!(
                        "method {:?} has no trials while {:?} has {}: give it a search, or set untuned = true",
                        method.name,
                        self.methods[first].name,
                        product(first)
                    ),
                );
            } else {
                p.require(
                    product(i) == product(first),
                    format!("methods.{i}.search"),
                    format!(
                        "method {:?} has {} trials and {:?} has {}: every method gets the same number",
                        method.name,
                        product(i),
                        self.methods[first].name,
                        product(first)
                    ),
                );
            }
        }
    }

    fn validate_ablations(&self, p: &mut Problems) {
        names("ablations", self.ablations.iter().map(|ablation| ablation.name.as_str()), p);
        for (i, ablation) in self.ablations.iter().enumerate() {
            let field = |name: &str| format!("ablations.{i}.{name}");
            p.require(
                self.method(&ablation.method).is_some(),
                field("method"),
                format!("{:?} is not a method of the study", ablation.method),
            );
            reserved_key(&field("key"), &ablation.key, p);
            values_are_plain(&field("values"), &ablation.values, p);
            p.require(
                ablation.values.len() < MAX_MODELS,
                field("values"),
                format!("give at most {}", MAX_MODELS - 1),
            );
            let slugs = ablation.values.iter().map(|value| slug(&text(value)));
            p.require(is_unique(slugs), field("values"), "two values have the same name: remove one");
            self.require_data(&field("data"), &ablation.data, p);
        }
    }

    fn validate_evaluations(&self, p: &mut Problems) {
        p.require(!self.evaluate.is_empty(), "evaluate", "name at least one evaluation");
        for (i, of) in self.evaluate.iter().enumerate() {
            self.validate_evaluation(&format!("evaluate.{i}"), of, p);
            for (j, data) in self.data.iter().enumerate() {
                let earlier = self.evaluate[..i].iter();
                let mut same = earlier.filter(|other| other.name == of.name && other.applies_to(data));
                p.require(
                    !of.applies_to(data) || same.next().is_none(),
                    format!("evaluate.{i}.name"),
                    format!("two evaluations {:?} measure the set {:?}", of.name, self.data[j].name),
                );
            }
        }
        for data in &self.data {
            let is_measured = self.evaluate.iter().any(|of| of.applies_to(data));
            p.require(is_measured, "evaluate", format!("no evaluation measures the set {:?}", data.name));
        }
    }

    fn validate_evaluation(&self, field: &str, of: &StudyEvaluation, p: &mut Problems) {
        p.require(is_part(&of.name), format!("{field}.name"), PART_NAME);
        self.require_data(&format!("{field}.data"), &of.data, p);
        p.require(
            !matches!(of.prompts, PromptSpec::Validation { .. }),
            format!("{field}.prompts.source"),
            "validation examples differ between runs: name prompts, for example captions",
        );
        let spec = self.evaluate_spec(of, &[]);
        if let Err(problems) = spec.validate_job() {
            p.extend_below(field, problems);
        }
    }

    fn validate_tuning(&self, p: &mut Problems) {
        let Some(tuning) = &self.tuning else { return };
        p.require(tuning.seed <= MAX_SEED, "tuning.seed", format!("use 0 to {MAX_SEED}"));
        p.require(
            !self.seeds.contains(&tuning.seed),
            "tuning.seed",
            "is a seed of the final runs: choose another, so that the final runs are not those that were chosen",
        );
        p.require(
            self.methods.iter().any(|method| !method.search.is_empty()),
            "tuning",
            "no method has a search: remove it",
        );
        for (i, of) in tuning.evaluate.iter().enumerate() {
            let field = format!("tuning.evaluate.{i}");
            self.validate_evaluation(&field, of, p);
            p.require(
                tuning.metric != super::measure::Measure::Distance || of.fid.is_some(),
                format!("{field}.fid"),
                "the metric is the distance: name the images to measure it from",
            );
            for (j, evaluation) in self.evaluate.iter().enumerate() {
                p.require(
                    !overlap(&of.prompts, &evaluation.prompts),
                    format!("{field}.prompts"),
                    format!("are those of evaluate.{j}: tune on other prompts than the reported ones"),
                );
            }
        }
        for data in &self.data {
            let count = tuning.evaluate.iter().filter(|of| of.applies_to(data)).count();
            p.require(
                count == 1,
                "tuning.evaluate",
                format!("{count} evaluations measure the trials on the set {:?}: give one", data.name),
            );
        }
    }

    fn validate_size(&self, p: &mut Problems) {
        let trials = |i: usize| {
            self.methods[i].search.values().fold(1_usize, |n, values| n.saturating_mul(values.len()))
        };
        let trials = (0..self.methods.len()).fold(0_usize, |n, i| n.saturating_add(trials(i)));
        let values: usize = self.ablations.iter().map(|ablation| ablation.values.len()).sum();
        let runs = self.methods.len() + values + (1 + self.ablations.len()) * self.evaluate.len();
        let per_set = trials.saturating_mul(2).saturating_add(runs.saturating_mul(self.seeds.len()));
        p.require(
            per_set.saturating_mul(self.data.len()) <= MAX_CELLS,
            "methods",
            format!("the study has more than {MAX_CELLS} jobs: split it"),
        );
    }

    fn require_data(&self, field: &str, named: &[String], p: &mut Problems) {
        for name in named {
            let is_known = self.data.iter().any(|data| data.name == *name);
            p.require(is_known, field, format!("{name:?} is not a set of the study"));
        }
    }

    /// Expands every run, so that none is refused after days.
    fn validate_cells(&self, p: &mut Problems) {
        let mut seen = BTreeSet::new();
        for cell in cells(self).into_iter().filter(|cell| cell.trains()) {
            let name = cell.model_name(self);
            if name.len() > MAX_NAME_BYTES {
                let problem = format!("the model {name:?} has more than {MAX_NAME_BYTES} bytes: shorten it");
                return p.add("name", problem);
            }
            let (trial, varied);
            let own = match cell {
                Cell::Trial { method, trial: index, .. } => {
                    trial = self.trials(method).into_iter().nth(index);
                    Own { searched: trial.as_ref(), varied: None }
                }
                Cell::Ablation { ablation, value, .. } => {
                    let of = &self.ablations[ablation];
                    varied = (of.key.as_str(), &of.values[value]);
                    Own { searched: None, varied: Some(varied) }
                }
                _ => Own::default(),
            };
            let Err(problems) = self.train_spec(cell, &self.base, own) else { continue };
            for problem in problems.0 {
                // Runs that differ in their seed have the same problems.
                let text = format!("{} ({})", problem.message, cell.key(self));
                if seen.insert((problem.field.clone(), problem.message)) {
                    p.add(&problem.field, text);
                }
            }
        }
    }
}

/// Whether two evaluations may share prompts.
fn overlap(a: &PromptSpec, b: &PromptSpec) -> bool {
    match (a, b) {
        (PromptSpec::ShapesHeldOut { .. }, PromptSpec::ShapesHeldOut { .. }) => true,
        (
            PromptSpec::ShapesTraining { count: x, skip: a },
            PromptSpec::ShapesTraining { count: y, skip: b },
        ) => *a < b.saturating_add(*y) && *b < a.saturating_add(*x),
        (PromptSpec::Captions { data: x, .. }, PromptSpec::Captions { data: y, .. }) => x == y,
        (PromptSpec::List { prompts: x }, PromptSpec::List { prompts: y }) => {
            x.iter().any(|prompt| y.contains(prompt))
        }
        _ => a.path().is_some() && a.path() == b.path(),
    }
}

/// The names of a part of the study: valid, and each once.
fn names<'a>(field: &str, names: impl Iterator<Item = &'a str> + Clone, p: &mut Problems) {
    for (i, name) in names.clone().enumerate() {
        p.require(is_part(name), format!("{field}.{i}.name"), PART_NAME);
        let is_repeated = names.clone().take(i).any(|earlier| earlier == name);
        p.require(!is_repeated, format!("{field}.{i}.name"), format!("{name:?} is listed twice"));
    }
}

const PART_NAME: &str = "use 1 to 40 letters, digits, '-' or '_'";

fn is_part(name: &str) -> bool {
    is_name(name) && name.len() <= MAX_PART_BYTES && !name.contains('.')
}

fn reserved(field: &str, settings: &Settings, p: &mut Problems) {
    for key in settings.keys() {
        reserved_key(&format!("{field}.{key}"), key, p);
    }
}

/// A key that follows from the study, or that is not one.
fn reserved_key(field: &str, key: &str, p: &mut Problems) {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let is_free = !RESERVED.contains(&first) || (first == "objective" && rest.is_some());
    p.require(is_free, field, "follows from the study: remove it");
    p.require(key.split('.').all(|part| !part.is_empty()), field, "is no key of a training spec");
}

fn values_are_plain(field: &str, values: &[Value], p: &mut Problems) {
    p.require(!values.is_empty(), field, "give at least one value");
    let plain = |value: &Value| value.is_number() || value.is_string() || value.is_boolean();
    p.require(values.iter().all(plain), field, "use numbers, words or booleans");
    p.require(is_unique(values.iter().map(Value::to_string)), field, "a value is listed twice: remove one");
}

fn is_unique<T: Ord>(mut items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.all(|item| seen.insert(item))
}
