//! The command line. Every flag is also a variable.

use diffusion::device::DeviceName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The site and its HTTP API.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about)]
pub struct Config {
    /// Where to listen. Anything but this machine alone needs an access token.
    #[arg(long, env = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// One secret for everybody, asked of every request but /livez.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    pub access_token: Option<String>,
    /// `sqlite://PATH` or `postgres://...`.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite://data/diff-contrast.db"
    )]
    pub database_url: String,
    /// Folder of images and checkpoints, shared with the workers.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    pub artifacts: PathBuf,
    /// Folder whose sub-folders are models in diffusers layout.
    #[arg(long, env = "MODELS", default_value = "models")]
    pub models: PathBuf,
    /// Folder whose sub-folders are sets of pairs, or sets that were prepared from them.
    #[arg(long, env = "DATASETS", default_value = "data/datasets")]
    pub datasets: PathBuf,
    /// Folder of the browser's bundle, as `cargo xtask frontend` makes it.
    #[arg(long, env = "SITE", default_value = "target/site")]
    pub site: PathBuf,
    /// Folder of stylesheet and icon.
    #[arg(long = "static", env = "STATIC", default_value = "static")]
    pub static_files: PathBuf,
    /// Requests for images that may wait or be at work; more get 429.
    #[arg(long, env = "QUEUE_SIZE", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queue_size: u32,
    /// Models kept in memory; the least recently used one makes room.
    #[arg(long, env = "LOADED_MODELS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub loaded_models: u32,
    /// Images drawn together, from one or several requests. More serves more requests per second on a GPU, and a
    /// image's last bits then depend on its company; 1 on a CPU and 8 on a GPU when absent.
    #[arg(long, env = "BATCH_SIZE", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch_size: Option<u32>,
    /// The device that generates: auto, cpu, cuda or cuda:NUMBER.
    #[arg(long, env = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Longest side of an image in pixels.
    #[arg(long, env = "LARGEST_SIDE", default_value_t = 1024)]
    pub largest_side: u32,
    /// Refuse prompts with words of the built-in list: sexual content and gore.
    #[arg(long, env = "PROMPT_FILTER")]
    pub prompt_filter: bool,
    /// Refuse prompts with these words or phrases, too; commas between them.
    #[arg(long, env = "REFUSED_TERMS", value_delimiter = ',')]
    pub refused_terms: Vec<String>,
    /// Hold back images that Stable Diffusion's safety checker flags: its folder, as `safety_checker` of a pipeline.
    #[arg(long, env = "SAFETY_CHECKER")]
    pub safety_checker: Option<PathBuf>,
    /// The model that a request without one means.
    #[arg(long, env = "DEFAULT_MODEL", default_value = "shapes")]
    pub default_model: String,
}

impl Config {
    /// The token, unless it is empty (an empty variable is an absent one).
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.access_token.as_deref().map(str::trim).filter(|token| !token.is_empty())
    }

    /// The checker's folder, unless it is empty.
    pub(crate) fn checker(&self) -> Option<&Path> {
        self.safety_checker.as_deref().filter(|folder| !folder.as_os_str().is_empty())
    }

    /// # Errors
    /// An address that others reach, without a token that keeps them out.
    pub fn validate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.listen.ip().is_loopback() || self.token().is_some(),
            "{} can be reached from other machines: set ACCESS_TOKEN to a secret, or listen on 127.0.0.1",
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
    fn others_are_let_in_only_with_a_token() {
        assert!(config(&[]).validate().is_ok());
        assert!(config(&["--listen", "[::1]:80"]).validate().is_ok());
        let refusal = config(&["--listen", "0.0.0.0:8080"]).validate().expect_err("open to all");
        assert!(refusal.to_string().contains("ACCESS_TOKEN"), "{refusal}");
        let mut guarded = config(&["--listen", "0.0.0.0:8080"]);
        guarded.access_token = Some("secret".into());
        assert!(guarded.validate().is_ok());
    }
}
