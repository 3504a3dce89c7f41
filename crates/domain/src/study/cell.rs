//! The cells of a study: each is one job.

use super::settings::text;
use super::spec::StudySpec;
use serde::{Deserialize, Serialize};

/// One job of a study. Methods, sets, evaluations, ablations, values and trials are identified by their index in the
/// spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cell {
    /// A run of the search.
    Trial {
        /// The method.
        method: usize,
        /// The set.
        data: usize,
        /// The combination of the search's values.
        trial: usize,
    },
    /// The evaluation of a trial's model on the tuning prompts.
    TrialEvaluation {
        /// The method.
        method: usize,
        /// The set.
        data: usize,
        /// The combination of the search's values.
        trial: usize,
    },
    /// A final run.
    Final {
        /// The method.
        method: usize,
        /// The set.
        data: usize,
        /// The run's seed.
        seed: u64,
    },
    /// The evaluation of the base and of all final models of a set and seed.
    Evaluation {
        /// The evaluation.
        evaluation: usize,
        /// The set.
        data: usize,
        /// The runs' seed.
        seed: u64,
    },
    /// A run of an ablation.
    Ablation {
        /// The ablation.
        ablation: usize,
        /// The value.
        value: usize,
        /// The set.
        data: usize,
        /// The run's seed.
        seed: u64,
    },
    /// The evaluation of all models of an ablation, a set and a seed.
    AblationEvaluation {
        /// The evaluation.
        evaluation: usize,
        /// The ablation.
        ablation: usize,
        /// The set.
        data: usize,
        /// The runs' seed.
        seed: u64,
    },
}

/// The kind of a cell. Cells of one kind take similar times.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// A run of the search.
    Trial,
    /// The evaluation of a run of the search.
    TrialEvaluation,
    /// A final run.
    Final,
    /// The evaluation of final runs.
    Evaluation,
    /// A run of an ablation.
    Ablation,
    /// The evaluation of an ablation's runs.
    AblationEvaluation,
}

impl CellKind {
    /// The name on pages.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::TrialEvaluation => "evaluation of a trial",
            Self::Final => "final run",
            Self::Evaluation => "evaluation",
            Self::Ablation => "ablation",
            Self::AblationEvaluation => "evaluation of an ablation",
        }
    }
}

impl Cell {
    /// Its kind.
    #[must_use]
    pub fn kind(self) -> CellKind {
        match self {
            Self::Trial { .. } => CellKind::Trial,
            Self::TrialEvaluation { .. } => CellKind::TrialEvaluation,
            Self::Final { .. } => CellKind::Final,
            Self::Evaluation { .. } => CellKind::Evaluation,
            Self::Ablation { .. } => CellKind::Ablation,
            Self::AblationEvaluation { .. } => CellKind::AblationEvaluation,
        }
    }

    /// Whether its job trains a model.
    #[must_use]
    pub fn trains(self) -> bool {
        matches!(self, Self::Trial { .. } | Self::Final { .. } | Self::Ablation { .. })
    }

    /// The stable name of the cell in its study, for example `final/contrast/winter/seed2`. The indices must be those of
    /// this spec.
    #[must_use]
    pub fn key(self, spec: &StudySpec) -> String {
        let data = |data: usize| spec.data[data].name.as_str();
        let method = |method: usize| spec.methods[method].name.as_str();
        let evaluation = |evaluation: usize| spec.evaluate[evaluation].name.as_str();
        let ablation = |ablation: usize| spec.ablations[ablation].name.as_str();
        match self {
            Self::Trial { method: m, data: d, trial } => {
                format!("trial/{}/{}/{}", method(m), data(d), trial + 1)
            }
            Self::TrialEvaluation { method: m, data: d, trial } => {
                format!("trial/{}/{}/{}/evaluate", method(m), data(d), trial + 1)
            }
            Self::Final { method: m, data: d, seed } => format!("final/{}/{}/seed{seed}", method(m), data(d)),
            Self::Evaluation { evaluation: e, data: d, seed } => {
                format!("evaluate/{}/{}/seed{seed}", evaluation(e), data(d))
            }
            Self::Ablation { ablation: a, value, data: d, seed } => {
                let value = slug(&text(&spec.ablations[a].values[value]));
                format!("ablation/{}/{value}/{}/seed{seed}", ablation(a), data(d))
            }
            Self::AblationEvaluation { evaluation: e, ablation: a, data: d, seed } => {
                format!("evaluate-ablation/{}/{}/{}/seed{seed}", evaluation(e), ablation(a), data(d))
            }
        }
    }

    /// The name of the cell's model.
    #[must_use]
    pub fn model_name(self, spec: &StudySpec) -> String {
        format!("{}-{}", spec.name, self.key(spec).replace('/', "-"))
    }
}

/// A value as part of a name: other characters than those of names become `-`.
pub(super) fn slug(value: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    value.chars().map(plain).collect()
}
