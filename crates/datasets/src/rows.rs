//! Iterates over the pairs of a set of any source and reports the dropped rows.

use crate::error::ReadError;
use crate::pair::{FileLeftOut, PreferencePair, Row, Rows};
use crate::prompt_filter::PromptFilter;
use crate::{folder, images, likes, pick_a_pic, webdataset};
use domain::data::{DataSpec, PromptFilterSpec};
use domain::dataset::{Dropped, ReadReport, Reason};
use std::path::Path;

/// The pairs of a set, in an order that depends only on its files. Ends after the first error.
pub struct Pairs {
    rows: Rows,
    filter: Option<PromptFilter>,
    /// Pairs left to return.
    left: u64,
    report: ReadReport,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs")
            .field("left", &self.left)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Pairs {
    /// The pairs among rows from any source: those that pass the filter, at most `max_pairs`.
    pub fn new(
        rows: impl Iterator<Item = Result<Row, ReadError>> + Send + 'static,
        filter: Option<&PromptFilterSpec>,
        max_pairs: Option<u32>,
    ) -> Self {
        Self {
            rows: Box::new(rows),
            filter: filter.map(PromptFilter::new),
            left: max_pairs.map_or(u64::MAX, u64::from),
            report: ReadReport::default(),
        }
    }

    /// Opens the files of a spec; `None` if the spec's source is not stored as files of one of this crate's formats.
    ///
    /// # Errors
    /// Fails if the files cannot be read or contain no set of the spec's kind.
    pub fn open(spec: &DataSpec) -> Result<Option<Self>, ReadError> {
        Ok(match spec {
            DataSpec::PickAPic(spec) => {
                Some(Self::new(pick_a_pic::open(spec)?, spec.prompt_filter.as_ref(), spec.max_pairs))
            }
            DataSpec::Folder(spec) => Some(Self::new(
                folder::open(Path::new(&spec.folder))?,
                spec.prompt_filter.as_ref(),
                spec.max_pairs,
            )),
            DataSpec::Images(spec) => {
                Some(Self::new(images::open(spec)?, spec.prompt_filter.as_ref(), spec.max_images))
            }
            DataSpec::Likes(spec) => Some(Self::new(
                likes::open(Path::new(&spec.folder))?,
                spec.prompt_filter.as_ref(),
                spec.max_pairs,
            )),
            DataSpec::WebDataset(spec) => Some(Self::new(
                webdataset::open(Path::new(&spec.folder))?,
                spec.prompt_filter.as_ref(),
                spec.max_pairs,
            )),
            DataSpec::Shapes { .. } | DataSpec::Votes(_) | DataSpec::Drawn(_) | DataSpec::Prepared(_) => None,
        })
    }

    /// Counts of the rows read so far, and the dropped ones with their reasons.
    #[must_use]
    pub fn report(&self) -> &ReadReport {
        &self.report
    }

    fn keep_or_drop(&mut self, row: Row) -> Option<PreferencePair> {
        let pair = match row {
            Row::Pair(pair) => pair,
            Row::Dropped(dropped) => {
                self.report.count_dropped(dropped);
                return None;
            }
            Row::LeftOut(FileLeftOut { file, reason }) => {
                self.report.leave_out(&file, &reason);
                return None;
            }
        };
        if let Some(term) = self.filter.as_ref().and_then(|filter| filter.refuses(&pair.prompt)) {
            let detail = format!("the prompt contains {term:?}");
            self.report.count_dropped(Dropped {
                reason: Reason::FilteredPrompt,
                source: pair.source,
                rows: 1,
                detail,
            });
            return None;
        }
        self.report.count_pair();
        self.left -= 1;
        Some(pair)
    }
}

impl Iterator for Pairs {
    type Item = Result<PreferencePair, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            match self.rows.next()? {
                Ok(row) => {
                    if let Some(pair) = self.keep_or_drop(row) {
                        return Some(Ok(pair));
                    }
                }
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
