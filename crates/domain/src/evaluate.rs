//! Evaluations: generating images of the same prompts with one or more models, and scoring them.

mod figures;
mod metric;
mod prompts;
mod report;
mod score;
mod spec;

pub use figures::{
    EvaluationReport, Extreme, FidReport, KernelReport, MetricComparison, MetricSummary, MetricsAgreement,
    ScoredModel, Wins,
};
pub use metric::Metric;
pub use prompts::PromptSpec;
pub use report::ReportFile;
pub use score::ModelScore;
pub(crate) use spec::images_per_prompt;
pub use spec::{EvaluateSpec, FidSpec, RewardSpec};
