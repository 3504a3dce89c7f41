//! `export-votes`: writes the team's votes as a data set for training.

use crate::storage::StorageSettings;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use datasets::votes::judged_pairs;
use domain::Timestamp;
use domain::data::{VotesPer, VotesSpec};
use domain::preference::Question;
use std::path::PathBuf;
use training::data::votes::write;

/// Arguments of `export-votes`.
#[derive(Debug, Args)]
pub(crate) struct ExportVotesCommand {
    /// The parquet file to write, with Pick-a-Pic's columns.
    out: PathBuf,
    /// One row per pair of images, with the majority's choice, or one row per vote.
    #[arg(long, value_enum, default_value_t = Per::Pair)]
    per: Per,
    /// The question that raters answered: overall, appeal or alignment.
    #[arg(long, default_value = "overall")]
    question: Question,
    /// Only pairs of which both models are named; repeat the flag for each model.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Only votes cast at or after this time, for example 2026-01-31T00:00:00Z.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only votes cast before this time.
    #[arg(long)]
    until: Option<Timestamp>,
    /// Leave out ties, which are otherwise written with the labels 0.5 and 0.5.
    #[arg(long)]
    drop_ties: bool,
    #[command(flatten)]
    storage: StorageSettings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Per {
    Pair,
    Vote,
}

impl ExportVotesCommand {
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
            .context("cannot start the async runtime")?;
        runtime.block_on(async {
            let (store, artifacts) = self.storage.open().await?;
            let mut pairs = judged_pairs(&store.judged_votes(spec.question).await?, &spec);
            let ties = pairs.iter().filter(|pair| pair.is_tie()).count();
            if self.drop_ties {
                pairs.retain(|pair| !pair.is_tie());
            }
            ensure!(!pairs.is_empty(), "no vote fits the options: nothing was written");
            write(&artifacts, &pairs, &self.out)?;
            let kept = if self.drop_ties { "left out" } else { "included" };
            println!("{}: {} rows, {ties} ties {kept}", self.out.display(), pairs.len());
            store.close().await;
            Ok(())
        })
    }
}
