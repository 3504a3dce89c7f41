//! Studies: methods, data sets, settings and seeds that expand into training and evaluation jobs of the ordinary queue.
//!
//! A study is a spec and the results of its cells. What is due next is a pure function of both, so a study that was
//! interrupted at any moment goes on where it was.

mod cell;
mod expand;
mod measure;
mod plan;
mod report;
mod scores;
mod settings;
mod spec;
mod state;
mod validate;

pub use cell::{Cell, CellKind};
pub use expand::steps;
pub use measure::Measure;
pub use plan::{CellResult, Planned, PlannedCell, cells, chosen, dependents, plan};
pub use report::{
    AblationLine, AblationPoint, Curve, CurvePoint, EvaluationTable, Failure, MethodRow, Search, SearchTrial,
    StudyReport, WinRow, report,
};
pub use scores::{CurveRow, ScoreRow};
pub use settings::Settings;
pub use spec::{Ablation, Budget, StudyData, StudyEvaluation, StudyMethod, StudySpec, Tuning};
pub use state::{Study, StudyCell, StudyOverview, StudyState, StudySummary};
