//! What a server is configured with.

use serde::{Deserialize, Serialize};

/// What a server is configured with, without its secrets.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSettings {
    /// Version of the server.
    pub version: String,
    /// The database: its kind, and the file of SQLite. Neither address nor password of Postgres.
    pub database: String,
    /// Folder of images and checkpoints.
    pub artifacts: String,
    /// Folder of models.
    pub models: String,
    /// Folder of datasets.
    pub datasets: String,
    /// Device that generates, as it was asked for.
    pub device: String,
    /// Whether images are generated on a CPU.
    pub is_cpu: bool,
    /// Whether requests need an access token.
    pub has_access_token: bool,
    /// Model of requests that name none, if it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// Generation requests that may be queued or running.
    pub queue_size: u32,
    /// Models kept in memory.
    pub loaded_models: u32,
    /// Largest batch of images, if it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Largest width and height of an image, in pixels.
    pub largest_side: u32,
    /// Largest request: images x width x height x steps, in millions.
    pub largest_request: f64,
    /// Seconds after which a generation request is given up.
    pub generation_timeout: u32,
    /// Seconds without progress after which the generator counts as stuck.
    pub generator_stall: u32,
    /// Connections that may be open, if it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Whether the built-in list of refused words is used.
    pub prompt_filter: bool,
    /// Number of further refused words and phrases.
    pub refused_terms: u32,
    /// Whether a safety checker looks at images.
    pub has_safety_checker: bool,
}
