//! The list of runs, page by page. A page begins after the keys of the last run of the previous one, so that runs which are
//! added meanwhile neither repeat nor hide others.

use crate::db::{Store, with_db};
use crate::error::StoreError;
use crate::images::containing;
use crate::run_rows::{RunRow, select_runs};
use domain::api::{RunChoices, RunSort};
use domain::id::{RunId, StudyId};
use domain::job::JobState;
use domain::run::{MetricPoint, Run};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Most studies among the choices.
const MAX_STUDIES: i64 = 100;

/// Which runs a list has. Absent fields match every run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Part of the name, without regard to case.
    pub search: Option<String>,
    /// State of the job.
    pub state: Option<JobState>,
    /// Kind of the objective.
    pub objective: Option<String>,
    /// The base as the spec names it.
    pub base: Option<String>,
    /// A tag of the run.
    pub tag: Option<String>,
    /// The study that the run belongs to.
    pub study: Option<StudyId>,
    /// Archived runs, or the others.
    pub archived: bool,
}

/// The keys of a run in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCursor {
    pinned: bool,
    id: RunId,
    /// The name in lower case, or the milliseconds; empty in the list that is newest first.
    key: String,
}

impl RunCursor {
    /// The keys of a run.
    #[must_use]
    pub fn of(run: &Run, sort: RunSort) -> Self {
        let key = match sort {
            RunSort::Newest => String::new(),
            RunSort::Name => run.name.to_ascii_lowercase(),
            RunSort::Duration => run.worked_ms.to_string(),
        };
        Self { pinned: run.pinned, id: run.id, key }
    }

    /// Whether the key belongs to this order.
    #[must_use]
    pub fn is_of(&self, sort: RunSort) -> bool {
        match sort {
            RunSort::Newest => self.key.is_empty(),
            RunSort::Name => !self.key.is_empty(),
            RunSort::Duration => self.key.parse::<i64>().is_ok(),
        }
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", u8::from(self.pinned), self.id, self.key)
    }
}

impl FromStr for RunCursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '~');
        let mut part = || parts.next().ok_or(());
        let pinned = match part()? {
            "0" => false,
            "1" => true,
            _ => return Err(()),
        };
        Ok(Self { pinned, id: part()?.parse().map_err(|_| ())?, key: part()?.to_owned() })
    }
}

/// Adds the conditions of a filter to a query that ends in one.
macro_rules! push_filter {
    ($query:ident, $filter:ident) => {
        if let Some(text) = &$filter.search {
            $query.push(" AND LOWER(r.name) LIKE ").push_bind(containing(text)).push(" ESCAPE '\\'");
        }
        if let Some(state) = $filter.state {
            $query.push(" AND j.state = ").push_bind(state.as_str());
        }
        if let Some(objective) = &$filter.objective {
            $query.push(" AND r.objective = ").push_bind(objective.as_str());
        }
        if let Some(base) = &$filter.base {
            $query.push(" AND r.base = ").push_bind(base.as_str());
        }
        if let Some(tag) = &$filter.tag {
            $query
                .push(" AND EXISTS (SELECT 1 FROM run_tags g WHERE g.run_id = r.id AND g.tag = ")
                .push_bind(tag.as_str())
                .push(")");
        }
        if let Some(study) = $filter.study {
            $query
                .push(" AND EXISTS (SELECT 1 FROM study_jobs s WHERE s.job_id = j.id AND s.study_id = ")
                .push_bind(study.0)
                .push(")");
        }
    };
}

/// Adds the condition that a run comes after the cursor: less or equal keys, pinned ones first.
macro_rules! push_after {
    ($query:ident, $after:ident, $sort:ident) => {
        // Unpinned runs come after all pinned ones.
        $query.push(" AND (r.pinned < ").push_bind($after.pinned);
        $query.push(" OR (r.pinned = ").push_bind($after.pinned).push(" AND ");
        match $sort {
            RunSort::Newest => {
                $query.push("r.id < ").push_bind($after.id.0);
            }
            RunSort::Name => {
                $query.push("(LOWER(r.name) > ").push_bind($after.key.as_str());
                $query.push(" OR (LOWER(r.name) = ").push_bind($after.key.as_str());
                $query.push(" AND r.id < ").push_bind($after.id.0).push("))");
            }
            RunSort::Duration => {
                let worked: i64 = $after.key.parse().unwrap_or(0);
                $query.push("(j.worked_ms < ").push_bind(worked);
                $query.push(" OR (j.worked_ms = ").push_bind(worked);
                $query.push(" AND r.id < ").push_bind($after.id.0).push("))");
            }
        }
        $query.push("))");
    };
}

impl Store {
    /// Lists the runs after a cursor, pinned ones first.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn list_run_page(
        &self,
        filter: &RunFilter,
        sort: RunSort,
        after: Option<&RunCursor>,
        at_most: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = with_db!(self, pool => {
            let mut query = QueryBuilder::new(select_runs!("WHERE r.archived = "));
            query.push_bind(filter.archived);
            push_filter!(query, filter);
            if let Some(after) = after {
                push_after!(query, after, sort);
            }
            query.push(match sort {
                RunSort::Newest => " ORDER BY r.pinned DESC, r.id DESC",
                RunSort::Name => " ORDER BY r.pinned DESC, LOWER(r.name), r.id DESC",
                RunSort::Duration => " ORDER BY r.pinned DESC, j.worked_ms DESC, r.id DESC",
            });
            query.push(" LIMIT ").push_bind(i64::from(at_most));
            query.build_query_as().fetch_all(pool).await?
        });
        rows.into_iter().map(Run::try_from).collect()
    }

    /// The values that runs have in the fields of a filter.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn run_choices(&self) -> Result<RunChoices, StoreError> {
        let bases: Vec<String> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT DISTINCT base FROM runs ORDER BY base").fetch_all(pool).await?);
        let tags: Vec<String> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT DISTINCT tag FROM run_tags ORDER BY tag").fetch_all(pool).await?);
        let studies: Vec<(Uuid, String)> = with_db!(self, pool =>
            sqlx::query_as("SELECT id, name FROM studies ORDER BY id DESC LIMIT $1")
                .bind(MAX_STUDIES)
                .fetch_all(pool)
                .await?);
        let studies = studies.into_iter().map(|(id, name)| (StudyId(id), name)).collect();
        Ok(RunChoices { bases, tags, studies })
    }

    /// The lowest and the highest finite value of a curve, for each of these runs that has one.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn extreme_values(
        &self,
        runs: &[RunId],
        name: &str,
    ) -> Result<HashMap<RunId, (f64, f64)>, StoreError> {
        if runs.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, f64, f64)> = with_db!(self, pool => {
            let mut query = QueryBuilder::new("SELECT run_id, MIN(value), MAX(value) FROM metrics WHERE name = ");
            query.push_bind(name).push(" AND run_id IN (");
            let mut ids = query.separated(", ");
            runs.iter().for_each(|run| { ids.push_bind(run.0); });
            query.push(") GROUP BY run_id").build_query_as().fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(|(run, lowest, highest)| (RunId(run), (lowest, highest))).collect())
    }

    /// The last point of each of these curves, for each of these runs. Curves without points are left out.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn last_points(
        &self,
        runs: &[RunId],
        names: &[&str],
    ) -> Result<HashMap<RunId, Vec<MetricPoint>>, StoreError> {
        let mut points: HashMap<RunId, Vec<MetricPoint>> = HashMap::new();
        if runs.is_empty() {
            return Ok(points);
        }
        for &name in names {
            let rows: Vec<(Uuid, i64, f64)> = with_db!(self, pool => {
                let mut query = QueryBuilder::new("SELECT m.run_id, m.step, m.value FROM runs r JOIN metrics m ON m.run_id = r.id AND m.name = ");
                query.push_bind(name);
                query.push(" AND m.step = (SELECT MAX(l.step) FROM metrics l WHERE l.run_id = r.id AND l.name = ");
                query.push_bind(name).push(") WHERE r.id IN (");
                let mut ids = query.separated(", ");
                runs.iter().for_each(|run| { ids.push_bind(run.0); });
                query.push(")").build_query_as().fetch_all(pool).await?
            });
            for (run, step, value) in rows {
                points.entry(RunId(run)).or_default().push(MetricPoint {
                    name: name.to_owned(),
                    step,
                    value,
                });
            }
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use super::RunCursor;
    use crate::images::containing;

    #[test]
    fn a_searched_text_stands_for_itself() {
        assert_eq!(containing("50%_A\\"), "%50\\%\\_a\\\\%");
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let text = "1~01890a5d-ac96-774b-bcce-b302099a8057~own-dpo_2.0";
        let cursor: RunCursor = text.parse().expect("a cursor");
        assert_eq!(cursor.to_string(), text);
        for text in [
            "",
            "1",
            "2~01890a5d-ac96-774b-bcce-b302099a8057~a",
            "1~x~a",
            "1~01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<RunCursor>().is_err(), "{text:?}");
        }
    }
}
