//! The command line. Every flag can also be set by an environment variable.

use diffusion::device::DeviceName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Serves the pages and the HTTP API of Diff-contrast.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "diff-contrast-server", version, about)]
pub struct Config {
    /// Address and port to listen on. An address that other machines can reach requires an access token.
    #[arg(long, env = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Access token that every request except /livez must carry. One token is shared by all users.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    pub access_token: Option<String>,
    /// Hosts that a server without an access token answers to, beside loopback names and the address it listens on, separated
    /// by commas: the names under which a reverse proxy passes requests on.
    #[arg(long, env = "ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Database URL: `sqlite://PATH` or `postgres://...`.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://data/diff-contrast.db"
    )]
    pub database_url: String,
    /// Artifact store: the folder of images and checkpoints, shared with the workers.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    pub artifacts: PathBuf,
    /// Folder whose subfolders are models in diffusers layout, or LoRA adapters.
    #[arg(long, env = "MODELS", default_value = "models")]
    pub models: PathBuf,
    /// Folder whose subfolders are datasets of preference pairs, raw or prepared.
    #[arg(long, env = "DATASETS", default_value = "data/datasets")]
    pub datasets: PathBuf,
    /// Folder of the browser bundle that `cargo xtask frontend` builds.
    #[arg(long, env = "SITE", default_value = "target/site")]
    pub site: PathBuf,
    /// Folder of the stylesheet and the icon.
    #[arg(long = "static", env = "STATIC", default_value = "static")]
    pub static_files: PathBuf,
    /// Generation requests that may be queued or running; further ones get status 429.
    #[arg(long, env = "QUEUE_SIZE", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queue_size: u32,
    /// Connections that may be open. When all are taken, the one that has kept the server waiting longest is closed. By
    /// default as many as the limit of open files (`ulimit -n`) allows, at most 16384.
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// Models kept in memory. The least recently used one is unloaded first.
    #[arg(long, env = "LOADED_MODELS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub loaded_models: u32,
    /// Largest batch of images generated together, from one or several requests; 1 on a CPU and 8 on a GPU when absent.
    /// Larger batches raise the throughput of a GPU, but the last bits of an image then depend on its batch.
    #[arg(long, env = "BATCH_SIZE", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch_size: Option<u32>,
    /// Device that generates: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Largest width and height of an image, in pixels.
    #[arg(long, env = "LARGEST_SIDE", default_value_t = 1024)]
    pub largest_side: u32,
    /// Largest request: images x width x height x steps, in millions (megapixel-steps); 32 on a CPU and 512 on a GPU when
    /// absent.
    #[arg(long, env = "LARGEST_REQUEST", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub largest_request: Option<u32>,
    /// Seconds after which a generation request is given up, the time in the queue included. It gets status 503.
    #[arg(long, env = "GENERATION_TIMEOUT", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub generation_timeout: u32,
    /// Seconds without a finished denoising step or loaded model after which /readyz reports a generator with work as stuck.
    #[arg(long, env = "GENERATOR_STALL", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub generator_stall: u32,
    /// Reject prompts that contain a word of the built-in list (sexual content and gore).
    #[arg(long, env = "PROMPT_FILTER")]
    pub prompt_filter: bool,
    /// Reject prompts that contain one of these words or phrases, separated by commas.
    #[arg(long, env = "REFUSED_TERMS", value_delimiter = ',')]
    pub refused_terms: Vec<String>,
    /// Folder of Stable Diffusion's safety checker (`safety_checker` of a pipeline). Images that it flags are neither stored
    /// nor returned.
    #[arg(long, env = "SAFETY_CHECKER")]
    pub safety_checker: Option<PathBuf>,
    /// Model of requests that name none; by default the bundled model `shapes`, or the oldest model if that is not there.
    #[arg(long, env = "DEFAULT_MODEL")]
    pub default_model: Option<String>,
}

impl Config {
    /// The access token, or none if it is empty or only spaces.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.access_token.as_deref().map(str::trim).filter(|token| !token.is_empty())
    }

    /// The folder of the safety checker, or none if it is empty.
    pub(crate) fn checker(&self) -> Option<&Path> {
        self.safety_checker.as_deref().filter(|folder| !folder.as_os_str().is_empty())
    }

    /// # Errors
    /// Fails if other machines can reach the address and no access token is set.
    pub fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.listen.ip().is_loopback() || self.token().is_some(),
            "other machines can reach {}: set ACCESS_TOKEN to a secret, or listen on 127.0.0.1",
            self.listen
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Config;
    use clap::Parser;

    fn config(arguments: &[&str]) -> Config {
        Config::parse_from([&["diff-contrast-server", "--access-token", ""], arguments].concat())
    }

    #[test]
    fn an_address_that_other_machines_reach_requires_a_token() {
        assert!(config(&[]).validate().is_ok());
        assert!(config(&["--listen", "[::1]:80"]).validate().is_ok());
        let refusal = config(&["--listen", "0.0.0.0:8080"]).validate().expect_err("no token");
        assert!(refusal.to_string().contains("ACCESS_TOKEN"), "{refusal}");
        let mut guarded = config(&["--listen", "0.0.0.0:8080"]);
        guarded.access_token = Some("secret".into());
        assert!(guarded.validate().is_ok());
    }
}
