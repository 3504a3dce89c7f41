//! Settings of the connection to the hub, from flags and the hub's usual environment variables.

use anyhow::{Context, Result, ensure};
use clap::Args;
use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Attempts to resume a broken download.
const RETRIES: usize = 5;
/// Default timeout in seconds: a loaded mirror may take this long to respond.
const TIMEOUT: u64 = 60;

/// Settings of the connection to the hub. The environment variables have the same meaning as in Python's tools.
#[derive(Clone, Debug, Args)]
pub struct HubSettings {
    /// Folder of the hub's token and cache.
    #[arg(long, env = "HF_HOME", help_heading = "Hugging Face hub")]
    hf_home: Option<PathBuf>,
    /// Folder of the cache; default: `hub` in HF_HOME.
    #[arg(long, env = "HF_HUB_CACHE", help_heading = "Hugging Face hub")]
    hf_hub_cache: Option<PathBuf>,
    /// Address of a mirror.
    #[arg(long, env = "HF_ENDPOINT", help_heading = "Hugging Face hub")]
    hf_endpoint: Option<String>,
    /// Token for gated and private repositories; default: the token of `huggingface-cli login`.
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, help_heading = "Hugging Face hub")]
    hf_token: Option<String>,
    /// Use only the cache and no network (1, true, yes, on).
    #[arg(
        long,
        env = "HF_HUB_OFFLINE",
        num_args = 0..=1,
        default_missing_value = "1",
        help_heading = "Hugging Face hub"
    )]
    hf_hub_offline: Option<String>,
    /// Seconds without data after which a download times out.
    #[arg(
        long,
        env = "HF_HUB_DOWNLOAD_TIMEOUT",
        default_value_t = TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        help_heading = "Hugging Face hub"
    )]
    hf_hub_download_timeout: u64,
}

impl HubSettings {
    pub(crate) fn is_offline(&self) -> bool {
        let value = self.hf_hub_offline.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&value.as_str())
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.hf_hub_download_timeout)
    }

    pub(crate) fn cache(&self) -> Cache {
        match (&self.hf_hub_cache, &self.hf_home) {
            (Some(cache), _) if !cache.as_os_str().is_empty() => Cache::new(cache.clone()),
            (_, Some(home)) if !home.as_os_str().is_empty() => Cache::new(home.join("hub")),
            _ => Cache::default(),
        }
    }

    pub(crate) fn api(&self, cache: &Cache) -> Result<Api> {
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(RETRIES).with_progress(false);
        if let Some(endpoint) = self.hf_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) {
            ensure!(
                endpoint.starts_with("http://") || endpoint.starts_with("https://"),
                "HF_ENDPOINT {endpoint:?}: use an address that begins with https://"
            );
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let home = self.hf_home.as_deref().filter(|home| !home.as_os_str().is_empty());
        let given =
            self.hf_token.as_deref().map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned);
        let logged_in =
            home.and_then(|home| fs::read_to_string(home.join("token")).ok()).map(|t| t.trim().to_owned());
        if let Some(token) = given.or(logged_in).filter(|token| !token.is_empty()) {
            builder = builder.with_token(Some(token));
        }
        builder.build().context("cannot set up the connection to the hub")
    }
}
