//! `cargo xtask smoke`: the whole round of the product against a release server, one line per step.

mod bad_input;
mod generation;
mod judging;
mod pages;
mod training;

use crate::deployment::{self, Deployment};
use crate::frontend::{self, Profile};
use crate::http::Client;
use crate::postgres::free_port;
use crate::process;
use crate::steps::seconds;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `smoke` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A running server with a worker; one of each is built and started over a scratch folder when absent.
    #[arg(long)]
    url: Option<String>,
    /// The server's access token, if it asks for one.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// The bundled model: what everything starts from.
const BASE: &str = "shapes";
const PROMPT: &str = "a large red circle on a blue background";

/// `cargo xtask smoke`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(url) = &options.url {
        return round(&mut Client::new(url, options.token.as_deref())?);
    }
    let workspace = Workspace::find()?;
    frontend::build(&workspace, Profile::Small)?;
    deployment::build(&workspace)?;
    let data = workspace.target.join(format!("smoke-{}", std::process::id()));
    let mut own = Deployment::start(&workspace, &data, free_port()?, options.token.as_deref())?;
    own.start_worker(&workspace, &data)?;
    let code = round(&mut own.client);
    drop(own);
    if code.as_ref().is_ok_and(|code| *code == ExitCode::SUCCESS) {
        std::fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
    } else {
        println!("what server and worker said is in {}", data.display());
    }
    code
}

/// Every step in order. A step that fails is told and does not keep the later ones from trying.
fn round(client: &mut Client) -> Result<ExitCode> {
    let mut tally = Round { passed: 0, failed: 0 };
    let name = training::fresh_name();
    tally.step("alive and ready", || pages::alive_and_ready(client));
    tally.step("an image, byte-identical when asked again", || generation::repeatable(client, BASE));
    tally.step("the same image as JSON", || generation::as_json(client, BASE));
    bad_input::all(client, &mut tally);
    tally.step("evaluate the bundled model", || training::evaluate(client, BASE));
    tally.step("train with diff_contrast", || training::train(client, &name));
    tally.step("its curves and sample images", || training::curves(client, &name));
    tally.step("the new model is listed", || training::listed(client, &name));
    tally.step("the new model generates", || generation::repeatable(client, &name));
    tally.step("both have evaluation images", || judging::evaluation_images(client, BASE, &name));
    tally.step("judge them blind; the leaderboard moves", || judging::vote(client, BASE, &name));
    tally.step("cancel a job", || training::cancel(client));
    pages::all(client, &mut tally);
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What went well and what did not.
struct Round {
    passed: u32,
    failed: u32,
}

impl Round {
    /// One step, one line. A step says in a few words what it saw.
    fn step(&mut self, name: &str, step: impl FnOnce() -> Result<String>) {
        if process::stop_requested() {
            return;
        }
        let began = Instant::now();
        let result = step();
        let time = seconds(began.elapsed());
        match result {
            Ok(seen) => {
                self.passed += 1;
                println!("ok      {time:>8}  {name}: {seen}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {time:>8}  {name}: {error:#}");
            }
        }
    }
}

/// Asks again until there is an answer; `what` says what was waited for in vain.
fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("{what} did not happen within {}", seconds(within));
        }
        process::pause(Duration::from_millis(500))?;
    }
}
