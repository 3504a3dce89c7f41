//! `import-votes`: takes in votes that were made elsewhere on images of this site.

use crate::storage::StorageSettings;
use anyhow::{Context, Result, ensure};
use clap::Args;
use datasets::votes_elsewhere::{LARGEST, read_votes};
use domain::preference::Question;
use process::ambient;
use std::path::PathBuf;
use store::ImportedVote;

/// Reasons that are printed.
const NAMED: usize = 10;

/// Arguments of `import-votes`.
#[derive(Debug, Args)]
pub(crate) struct ImportVotesCommand {
    /// JSON or JSON lines: the export of Label Studio (pairwise), Argilla's records, Pick-a-Pic's rows, or battles of an arena
    /// (docs/judging.md). Rows name images of this site by id or address.
    file: PathBuf,
    /// The question that raters answered: overall, appeal or alignment.
    #[arg(long, default_value = "overall")]
    question: Question,
    #[command(flatten)]
    storage: StorageSettings,
}

impl ImportVotesCommand {
    pub(crate) fn run(self) -> Result<()> {
        let name = self.file.display();
        let size = std::fs::metadata(&self.file).with_context(|| format!("cannot read {name}"))?.len();
        ensure!(size <= LARGEST, "{name} has {size} bytes, more than {LARGEST}: split it");
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {name}"))?;
        let read = read_votes(&text).map_err(anyhow::Error::msg).with_context(|| name.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        let mut dropped: Vec<String> =
            read.dropped.iter().map(|(row, reason)| format!("row {row} {reason}")).collect();
        let (mut imported, mut known) = (0, 0);
        runtime.block_on(async {
            let (store, _) = self.storage.open().await?;
            let now = ambient::now();
            let mut rng = ambient::generator();
            for (number, vote) in (1..).zip(&read.votes) {
                let vote = ImportedVote {
                    images: vote.images,
                    question: self.question,
                    choice: vote.choice,
                    rater: vote.rater.clone(),
                    created_at: vote.created_at.unwrap_or(now),
                };
                match store.import_vote(&vote, &mut rng).await {
                    Ok(true) => imported += 1,
                    Ok(false) => known += 1,
                    Err(error) if error.unavailable().is_some() => return Err(error.into()),
                    Err(error) => dropped.push(format!("vote {number}: {error}")),
                }
            }
            store.close().await;
            anyhow::Ok(())
        })?;
        println!("{name}: {imported} votes imported, {known} known already, {} left out", dropped.len());
        dropped.iter().take(NAMED).for_each(|reason| println!("  {reason}"));
        ensure!(imported + known > 0, "{name}: no vote could be imported");
        Ok(())
    }
}
