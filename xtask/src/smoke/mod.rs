//! `cargo xtask smoke`: uses every part of the product on a release server and prints one line per step.

mod bad_input;
mod bundled;
mod generation;
mod judging;
mod pages;
mod round;
mod training;
mod wait;

use crate::deployment::{self, Build, Deployment};
use crate::frontend::{self, Profile};
use crate::http::Client;
use crate::system;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use bundled::MODEL;
use round::Round;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// URL of a running server that has a worker. Without it, both are built and started with a temporary data folder.
    #[arg(long)]
    url: Option<String>,
    /// The server's access token.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Keeps the data folder of a failed round.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(url) = &options.url {
        return Ok(round(&mut Client::new(url, options.token.as_deref())?));
    }
    let workspace = Workspace::find()?;
    frontend::build(&workspace, Profile::Small)?;
    deployment::build(&workspace, Build::Release)?;
    let data = workspace.target.join(format!("smoke-{}", std::process::id()));
    let mut deployment =
        Deployment::start(&workspace, Build::Release, &data, system::free_port()?, options.token.as_deref())?;
    deployment.start_worker(&workspace, &data)?;
    let code = round(&mut deployment.client);
    drop(deployment);
    if code == ExitCode::SUCCESS {
        std::fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
    } else {
        println!("the logs of server and worker are in {}", data.display());
    }
    Ok(code)
}

fn round(client: &mut Client) -> ExitCode {
    let mut round = Round::default();
    let name = training::fresh_name();
    round.step("liveness and readiness", || pages::alive_and_ready(client));
    round.step("generate: the same request gives the same bytes", || generation::repeatable(client, MODEL));
    round.step("generate as JSON", || generation::as_json(client, MODEL));
    bad_input::all(client, &mut round);
    round.step("evaluate the bundled model", || training::evaluate(client, MODEL));
    round.step("train with diff_contrast", || training::train(client, &name));
    round.step("curves and sample images of the run", || training::curves(client, &name));
    round.step("the new model is listed", || training::listed(client, &name));
    round.step("the new model generates", || generation::repeatable(client, &name));
    round.step("evaluation images of both models", || judging::evaluation_images(client, MODEL, &name));
    round.step("a blind vote changes the leaderboard", || judging::vote(client, MODEL, &name));
    round.step("a campaign, from making to closing", || judging::campaign(client, MODEL, &name));
    round.step("cancel a job", || training::cancel(client));
    pages::all(client, &mut round);
    round.finish()
}
