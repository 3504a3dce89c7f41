//! `export-votes`: the team's votes as a set that others can train on.

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use datasets::votes::judged_pairs;
use domain::Timestamp;
use domain::data::{VotesPer, VotesSpec};
use domain::preference::Question;
use std::path::PathBuf;
use store::{Artifacts, Store};
use training::data::votes::write;

/// Which votes, and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportVotesCommand {
    /// The file to write: parquet in the columns of Pick-a-Pic.
    out: PathBuf,
    /// A row for two images with what most raters said, or for every vote.
    #[arg(long, value_enum, default_value_t = Per::Pair)]
    per: Per,
    /// What the raters were asked: overall, appeal or alignment.
    #[arg(long, default_value = "overall")]
    question: Question,
    /// Only pairs whose both models are named; may be given several times.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Votes cast at this moment or later, as 2026-01-31T00:00:00Z.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Votes cast before this moment.
    #[arg(long)]
    until: Option<Timestamp>,
    /// Leave ties out instead of writing them with the labels 0.5 and 0.5.
    #[arg(long)]
    drop_ties: bool,
    /// The database that server and workers share.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://data/diff-contrast.db")]
    database_url: String,
    /// Folder of images, shared with the server.
    #[arg(long, env = "ARTIFACTS", default_value = "data/artifacts")]
    artifacts: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Per {
    Pair,
    Vote,
}

impl ExportVotesCommand {
    /// # Errors
    /// The database cannot be reached, no vote is asked for, or the file cannot be written.
    pub(crate) fn run(self) -> Result<()> {
        let spec = VotesSpec {
            per: match self.per {
                Per::Pair => VotesPer::Pair,
                Per::Vote => VotesPer::Vote,
            },
            question: self.question,
            models: self.models,
            since: self.since,
            until: self.until,
            prompt_filter: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            let store = Store::connect(&self.database_url).await?;
            let artifacts = Artifacts::open(&self.artifacts)?;
            let mut pairs = judged_pairs(&store.judged_votes(spec.question).await?, &spec);
            let ties = pairs.iter().filter(|pair| pair.is_tie()).count();
            if self.drop_ties {
                pairs.retain(|pair| !pair.is_tie());
            }
            ensure!(!pairs.is_empty(), "there is no vote to write");
            write(&artifacts, &pairs, &self.out)?;
            let kept = if self.drop_ties { "left out" } else { "among them" };
            println!("{}: {} rows, {ties} ties {kept}", self.out.display(), pairs.len());
            store.close().await;
            Ok(())
        })
    }
}
