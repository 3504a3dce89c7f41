//! The report of a study, from its stored results: `report.html` and `report.json` beside them.

mod page;
mod plot;

use anyhow::Result;
use catalogue::study::folder::{self, FIGURES, PAGE};
use domain::study::{StudyReport, report};
use files::write_atomically;
use page::page;
use std::path::Path;

/// Makes the report of the results in a folder and writes it there. The same results give the same bytes.
///
/// # Errors
/// Fails if the results or a sample image cannot be read, or if the report cannot be written.
pub fn write_report(folder: &Path) -> Result<StudyReport> {
    let results = folder::read(folder)?;
    let report = report(&results.spec, &results.scores, &results.curves, results.failures.clone());
    write_atomically(&folder.join(FIGURES), &serde_json::to_vec_pretty(&report)?)?;
    write_atomically(&folder.join(PAGE), page(folder, &results, &report)?.as_bytes())?;
    Ok(report)
}
