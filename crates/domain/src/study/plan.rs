//! What of a study is due: a pure function of its spec and of the results of its cells.

use super::cell::Cell;
use super::expand::Own;
use super::settings::Settings;
use super::spec::StudySpec;
use crate::job::{JobSpec, JobState};
use std::collections::{BTreeMap, BTreeSet};

/// The result of a submitted cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellResult {
    /// State of its job.
    pub state: JobState,
    /// Name of the model that it made, once the job succeeded.
    pub model: Option<String>,
    /// The tuning measure of the evaluation of a trial, once the job succeeded.
    pub value: Option<f64>,
}

/// A cell, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCell {
    /// The cell.
    pub cell: Cell,
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub state: Planned,
}

/// Where a cell stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// Its job is in the queue, runs, or has ended.
    Submitted(JobState),
    /// Its job can be submitted.
    Due(Box<JobSpec>),
    /// A cell that it needs has not ended.
    Waiting,
    /// It cannot run: the reason, with the key of the cell that failed.
    Blocked(String),
}

/// What a cell needs of another, or of several.
enum Need<T> {
    Have(T),
    Wait,
    Blocked(String),
}

/// All cells of a study, in the order in which they are submitted: the search, the final runs, their evaluations,
/// ablations.
#[must_use]
pub fn cells(spec: &StudySpec) -> Vec<Cell> {
    let mut all = Vec::new();
    let sets = || spec.data.iter().enumerate();
    for (data, _) in sets() {
        for method in 0..spec.methods.len() {
            let trials = 0..spec.trials(method).len();
            all.extend(trials.clone().map(|trial| Cell::Trial { method, data, trial }));
            all.extend(trials.map(|trial| Cell::TrialEvaluation { method, data, trial }));
        }
    }
    for (data, _) in sets() {
        for &seed in &spec.seeds {
            all.extend((0..spec.methods.len()).map(|method| Cell::Final { method, data, seed }));
        }
    }
    for (data, set) in sets() {
        for &seed in &spec.seeds {
            let of = spec.evaluate.iter().enumerate().filter(|(_, of)| of.applies_to(set));
            all.extend(of.map(|(evaluation, _)| Cell::Evaluation { evaluation, data, seed }));
        }
    }
    for (ablation, of) in spec.ablations.iter().enumerate() {
        for (data, set) in sets().filter(|(_, set)| of.applies_to(set)) {
            for &seed in &spec.seeds {
                all.extend((0..of.values.len()).map(|value| Cell::Ablation { ablation, value, data, seed }));
            }
            for &seed in &spec.seeds {
                let evaluations = spec.evaluate.iter().enumerate().filter(|(_, of)| of.applies_to(set));
                all.extend(evaluations.map(|(evaluation, _)| Cell::AblationEvaluation {
                    evaluation,
                    ablation,
                    data,
                    seed,
                }));
            }
        }
    }
    all
}

/// Where every cell stands. `results`: by key, the cells whose jobs were submitted.
#[must_use]
pub fn plan(spec: &StudySpec, results: &BTreeMap<String, CellResult>) -> Vec<PlannedCell> {
    let planner = Planner { spec, results };
    let place = |cell: Cell| {
        let key = cell.key(spec);
        let state = match results.get(&key) {
            Some(result) => Planned::Submitted(result.state),
            None => planner.due(cell),
        };
        PlannedCell { cell, key, state }
    };
    cells(spec).into_iter().map(place).collect()
}

/// The trial that gives a method's settings on a set: the best by the tuning measure among those that were evaluated, the
/// first of equal ones. None before all trials have ended, or if none was evaluated.
#[must_use]
pub fn chosen(
    spec: &StudySpec,
    results: &BTreeMap<String, CellResult>,
    method: usize,
    data: usize,
) -> Option<(usize, Settings)> {
    match (Planner { spec, results }).choice(method, data) {
        Need::Have(choice) => choice,
        Need::Wait | Need::Blocked(_) => None,
    }
}

/// Keys of the cells that were made from the results of a cell, directly or not: what has to be done again when the cell
/// is.
#[must_use]
pub fn dependents(spec: &StudySpec, cell: Cell) -> BTreeSet<String> {
    let all = cells(spec);
    let mut found: BTreeSet<Cell> = BTreeSet::from([cell]);
    loop {
        let next = |of: &&Cell| !found.contains(*of) && found.iter().any(|on| depends(spec, **of, *on));
        let more: Vec<Cell> = all.iter().filter(next).copied().collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.remove(&cell);
    found.into_iter().map(|cell| cell.key(spec)).collect()
}

/// Whether a cell reads the result of another.
fn depends(spec: &StudySpec, cell: Cell, on: Cell) -> bool {
    let after = |method: usize| {
        let name = spec.methods[method].after.as_deref();
        name.and_then(|name| spec.method(name)).map(|(index, _)| index)
    };
    match (cell, on) {
        (Cell::TrialEvaluation { method, data, trial }, Cell::Trial { method: m, data: d, trial: t }) => {
            (method, data, trial) == (m, d, t)
        }
        (Cell::Final { method, data, .. }, Cell::TrialEvaluation { method: m, data: d, .. }) => {
            (method, data) == (m, d)
        }
        (Cell::Trial { method, data, .. }, Cell::Final { method: m, data: d, seed }) => {
            after(method) == Some(m) && data == d && spec.seeds.first() == Some(&seed)
        }
        (Cell::Final { method, data, seed }, Cell::Final { method: m, data: d, seed: s }) => {
            after(method) == Some(m) && (data, seed) == (d, s)
        }
        (Cell::Evaluation { data, seed, .. }, Cell::Final { data: d, seed: s, .. }) => (data, seed) == (d, s),
        (Cell::Ablation { ablation, data, seed, .. }, Cell::Final { method: m, data: d, seed: s }) => {
            let method = spec.method(&spec.ablations[ablation].method);
            method.and_then(|(index, _)| after(index)) == Some(m) && (data, seed) == (d, s)
        }
        (Cell::Ablation { ablation, data, .. }, Cell::TrialEvaluation { method: m, data: d, .. }) => {
            spec.method(&spec.ablations[ablation].method).is_some_and(|(index, _)| index == m) && data == d
        }
        (
            Cell::AblationEvaluation { ablation, data, seed, .. },
            Cell::Ablation { ablation: a, data: d, seed: s, .. },
        ) => (ablation, data, seed) == (a, d, s),
        _ => false,
    }
}

#[derive(Clone, Copy)]
struct Planner<'a> {
    spec: &'a StudySpec,
    results: &'a BTreeMap<String, CellResult>,
}

impl Planner<'_> {
    fn due(self, cell: Cell) -> Planned {
        let need = if cell.trains() { self.training(cell) } else { self.evaluation(cell) };
        match need {
            Need::Have(job) => Planned::Due(Box::new(job)),
            Need::Wait => Planned::Waiting,
            Need::Blocked(reason) => Planned::Blocked(reason),
        }
    }

    fn training(self, cell: Cell) -> Need<JobSpec> {
        let spec = self.spec;
        let (method, data, seed, varied) = match cell {
            Cell::Final { method, data, seed } => (method, data, seed, None),
            // A trial of a second stage starts from the first stage's final model of the first seed.
            Cell::Trial { method, data, .. } => {
                (method, data, spec.seeds.first().copied().unwrap_or(0), None)
            }
            Cell::Ablation { ablation, value, data, seed } => {
                let of = &spec.ablations[ablation];
                let Ok(method) = spec.method_of(of) else { return Need::Blocked("its method".to_owned()) };
                (method, data, seed, Some((of.key.as_str(), &of.values[value])))
            }
            _ => return Need::Wait,
        };
        let base = match self.start(method, data, seed) {
            Need::Have(base) => base,
            Need::Wait => return Need::Wait,
            Need::Blocked(by) => return Need::Blocked(by),
        };
        let searched = if let Cell::Trial { trial, .. } = cell {
            spec.trials(method).get(trial).cloned()
        } else {
            match self.choice(method, data) {
                Need::Have(choice) => choice.map(|(_, settings)| settings),
                Need::Wait => return Need::Wait,
                Need::Blocked(by) => return Need::Blocked(by),
            }
        };
        match spec.train_spec(cell, &base, Own { searched: searched.as_ref(), varied }) {
            Ok(train) => Need::Have(JobSpec::Train(train)),
            Err(problems) => Need::Blocked(problems.to_string()),
        }
    }

    /// The model that a method starts from.
    fn start(self, method: usize, data: usize, seed: u64) -> Need<String> {
        let Some(after) = &self.spec.methods[method].after else {
            return Need::Have(self.spec.base.clone());
        };
        let Some((first, _)) = self.spec.method(after) else { return Need::Blocked(after.clone()) };
        self.model(Cell::Final { method: first, data, seed })
    }

    fn model(self, cell: Cell) -> Need<String> {
        let key = cell.key(self.spec);
        match self.results.get(&key) {
            Some(CellResult { state: JobState::Succeeded, model: Some(model), .. }) => {
                Need::Have(model.clone())
            }
            Some(result) if result.state.is_final() => Need::Blocked(key),
            Some(_) => Need::Wait,
            // It may never be submitted.
            None => match self.due(cell) {
                Planned::Blocked(by) => Need::Blocked(by),
                _ => Need::Wait,
            },
        }
    }

    /// The chosen trial, none for a method that does not search.
    fn choice(self, method: usize, data: usize) -> Need<Option<(usize, Settings)>> {
        let trials = self.spec.trials(method);
        if trials.is_empty() {
            return Need::Have(None);
        }
        let Some(tuning) = &self.spec.tuning else { return Need::Have(None) };
        let mut best: Option<(usize, f64)> = None;
        let mut failed = None;
        for trial in 0..trials.len() {
            let cell = Cell::TrialEvaluation { method, data, trial };
            let key = cell.key(self.spec);
            let result = self.results.get(&key);
            match result {
                Some(CellResult { state: JobState::Succeeded, value: Some(value), .. })
                    if value.is_finite() =>
                {
                    if best.is_none_or(|(_, than)| tuning.metric.is_better(*value, than)) {
                        best = Some((trial, *value));
                    }
                }
                Some(result) if result.state.is_final() => failed = Some(key),
                Some(_) => return Need::Wait,
                None => match self.due(cell) {
                    Planned::Blocked(by) => failed = Some(by),
                    _ => return Need::Wait,
                },
            }
        }
        match best {
            Some((trial, _)) => Need::Have(trials.into_iter().nth(trial).map(|settings| (trial, settings))),
            None => Need::Blocked(failed.unwrap_or_default()),
        }
    }

    /// An evaluation of the models that exist, once every run that it compares has ended.
    fn evaluation(self, cell: Cell) -> Need<JobSpec> {
        let spec = self.spec;
        let (evaluation, runs): (_, Vec<Cell>) = match cell {
            Cell::TrialEvaluation { method, data, trial } => {
                (spec.tuning_evaluation(data), vec![Cell::Trial { method, data, trial }])
            }
            Cell::Evaluation { evaluation, data, seed } => {
                let runs = (0..spec.methods.len()).map(|method| Cell::Final { method, data, seed });
                (spec.evaluate.get(evaluation), runs.collect())
            }
            Cell::AblationEvaluation { evaluation, ablation, data, seed } => {
                let values = 0..spec.ablations[ablation].values.len();
                let runs = values.map(|value| Cell::Ablation { ablation, value, data, seed });
                (spec.evaluate.get(evaluation), runs.collect())
            }
            _ => return Need::Wait,
        };
        let Some(evaluation) = evaluation else { return Need::Blocked("no tuning evaluation".to_owned()) };
        let (mut models, mut failed) = (Vec::new(), None);
        for run in runs {
            match self.model(run) {
                Need::Have(model) => models.push(model),
                Need::Wait => return Need::Wait,
                Need::Blocked(by) => failed = Some(by),
            }
        }
        match (models.is_empty(), failed) {
            (true, by) => Need::Blocked(by.unwrap_or_default()),
            (false, _) => Need::Have(JobSpec::Evaluate(spec.evaluate_spec(evaluation, &models))),
        }
    }
}
