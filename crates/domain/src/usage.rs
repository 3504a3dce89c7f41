//! What a run takes of its worker: processor, memory, and time.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// A measurement of a worker while it runs a job.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was measured.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Processor cores that the worker was busy on, as a mean since the previous measurement.
    pub cores: f64,
    /// Memory of the worker, in bytes.
    pub memory: u64,
    /// Memory that all processes of the host use, in bytes.
    pub host_memory: u64,
    /// Memory in use on the worker's GPU, by all processes, in bytes; absent on a CPU.
    pub device_memory: Option<u64>,
}

/// What a part of a step takes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartTime {
    /// Name of the part, as in the curve `seconds/PART`.
    #[cfg_attr(feature = "openapi", schema(example = "forward"))]
    pub part: String,
    /// Seconds per step. What is not done in every step, such as samples, is spread over all steps.
    pub seconds: f64,
}

/// What a run takes of its worker.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunUsage {
    /// Measurements, oldest first. At most 720: the longer a run takes, the larger is the time between two.
    pub measurements: Vec<Usage>,
    /// Where the time of a step goes: what every step does as a mean of the last 200 steps.
    pub time: Vec<PartTime>,
}
