//! `diff-contrast-pages-database URL`: fills an empty database with the runs, images and votes of a busy year. `cargo xtask bench
//! pages` measures the server's pages on it. The rows are random, the same each time, and written without the product's
//! queries: a vote at a time would take hours.

mod plan;
mod rows;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use plan::{Counts, Plan};
use std::process::ExitCode;
use store::{Db, Store};

#[derive(Parser)]
struct Arguments {
    /// `sqlite://PATH` or `postgres://...`; the database must have no runs.
    url: String,
    #[command(flatten)]
    counts: Counts,
}

fn main() -> ExitCode {
    process::exit::exit_code("diff-contrast-pages-database", run(&Arguments::parse()))
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<()> {
    let counts = &arguments.counts;
    ensure!(counts.judged_models >= 2, "--judged-models: use 2 or more, since a matchup has two");
    ensure!(counts.judged_models <= counts.runs, "--judged-models: use at most as many as --runs");
    let store = Store::connect(&arguments.url).await?;
    ensure!(store.list_runs(1).await?.is_empty(), "the database has runs: name an empty one");
    let base = store.get_model_by_name("shapes").await?;
    let base = base.context("the database has no model `shapes`: start the server on it once")?;
    let plan = Plan::new(counts, base.id);
    match store.db() {
        Db::Sqlite(pool) => rows::sqlite::fill(pool, &plan).await?,
        Db::Postgres(pool) => rows::postgres::fill(pool, &plan).await?,
    }
    let prompts: Vec<(String, String)> =
        (0..plan.prompts).map(|n| (plan::prompt(n), format!("category {}", n % 8))).collect();
    let categories: Vec<(&str, &str)> =
        prompts.iter().map(|(prompt, category)| (&**prompt, &**category)).collect();
    store.put_prompt_categories(&categories).await?;
    store.close().await;
    Ok(())
}
