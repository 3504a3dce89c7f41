//! `cargo xtask screenshots`: every page of a running site in both themes, at the widths of a desktop and a phone.

use crate::http::Client;
use crate::process;
use crate::steps::Steps;
use crate::system;
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, ensure};
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address of the site: that of `cargo xtask demo`, once its jobs have finished.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
}

/// Most bytes of all screenshots together.
const MOST: u64 = 3_000_000;

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let folder = workspace.root.join("docs/screenshots");
    let mut steps = Steps::new();
    steps.run("site", || Client::new(&options.url, None)?.get("/readyz")?.expect(200))?;
    steps.run("screenshots", || {
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        // The test of this name drives the browser.
        let test =
            ["test", "-p", "server", "--test", "browser", "screenshots", "--", "--ignored", "--nocapture"];
        process::run(
            cargo()
                .current_dir(&workspace.root)
                .args(test)
                .env("CHROMIUM", system::chromium()?)
                .env("SITE_ADDRESS", options.url.trim_end_matches('/'))
                .env("SCREENSHOTS", &folder),
        )?;
        let mut bytes = 0;
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            bytes += entry?.metadata()?.len();
        }
        println!("    {} has {} kB", folder.display(), bytes / 1000);
        ensure!(bytes <= MOST, "the screenshots have {bytes} bytes: at most {MOST}");
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
