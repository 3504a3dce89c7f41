//! Points of curves as charts read them: those of complete chunks from their packed copies, newer ones from their rows.

use crate::db::{Store, in_transaction, with_db};
use crate::error::StoreError;
use domain::id::RunId;
use sqlx::QueryBuilder;
use std::collections::BTreeMap;

/// Steps of a chunk.
pub(crate) const CHUNK: i64 = 512;
/// Most steps that one transaction packs.
pub(crate) const MOST_PACKED: i64 = 8 * CHUNK;

/// The points of a run's curves between two steps, each in order of step. Values may be NaN or infinite.
pub type Curves = BTreeMap<String, Vec<(i64, f64)>>;

/// The first step of the chunk of a step.
pub(crate) fn chunk_start(step: i64) -> i64 {
    step.div_euclid(CHUNK) * CHUNK
}

/// The text of a value that is not finite.
pub(crate) fn not_finite_text(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "infinity",
        f64::NEG_INFINITY => "-infinity",
        _ => "nan",
    }
}

fn not_finite(text: &str) -> f64 {
    match text {
        "infinity" => f64::INFINITY,
        "-infinity" => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

/// A chunk's points in order of step: for each the steps since the previous one (the first: since the chunk's start) in
/// two bytes, and the value in eight.
fn packed(start: i64, points: &[(i64, f64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(points.len() * 10);
    let mut before = start;
    for &(step, value) in points {
        // Below `CHUNK`, because all steps lie in the chunk.
        bytes.extend_from_slice(&((step - before) as u16).to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
        before = step;
    }
    bytes
}

fn unpacked(start: i64, bytes: &[u8], into: &mut Vec<(i64, f64)>) {
    let mut step = start;
    for point in bytes.chunks_exact(10) {
        let [a, b, value @ ..] = point else { continue };
        let Ok(value) = <[u8; 8]>::try_from(value) else { continue };
        step += i64::from(u16::from_le_bytes([*a, *b]));
        into.push((step, f64::from_le_bytes(value)));
    }
}

/// Adds rows of points, and of points that are not finite, to curves whose points are earlier.
fn add_rows(curves: &mut Curves, rows: Vec<(String, i64, f64)>, gaps: Vec<(String, i64, String)>) {
    let has_gaps = !gaps.is_empty();
    for (name, step, value) in rows {
        curves.entry(name).or_default().push((step, value));
    }
    for (name, step, text) in gaps {
        curves.entry(name).or_default().push((step, not_finite(&text)));
    }
    if has_gaps {
        curves.values_mut().for_each(|points| points.sort_by_key(|point| point.0));
    }
}

/// The rows of one chunk for each curve with points in it: name, chunk, bytes.
pub(crate) fn chunks(
    rows: Vec<(String, i64, f64)>,
    gaps: Vec<(String, i64, String)>,
) -> Vec<(String, i64, Vec<u8>)> {
    let mut curves = Curves::new();
    add_rows(&mut curves, rows, gaps);
    let mut chunks = Vec::new();
    for (name, points) in curves {
        for points in points.chunk_by(|a, b| chunk_start(a.0) == chunk_start(b.0)) {
            let start = chunk_start(points[0].0);
            chunks.push((name.clone(), start / CHUNK, packed(start, points)));
        }
    }
    chunks
}

/// Copies the points of complete chunks before the step into `metric_chunks`, at most those of `MOST_PACKED` steps. All
/// points before the step must have been written.
macro_rules! pack {
    ($tx:ident, $run:expr, $step:expr) => {
        let from: i64 = sqlx::query_scalar("SELECT packed_to FROM runs WHERE id = $1")
            .bind($run.0)
            .fetch_optional(&mut *$tx)
            .await?
            .unwrap_or(i64::MAX);
        let to = $crate::points::chunk_start($step).min(from.saturating_add($crate::points::MOST_PACKED));
        if to > from {
            let rows: Vec<(String, i64, f64)> = sqlx::query_as(
                "SELECT name, step, value FROM metrics WHERE run_id = $1 AND step >= $2 AND step < $3 ORDER BY step, name")
                .bind($run.0)
                .bind(from)
                .bind(to)
                .fetch_all(&mut *$tx)
                .await?;
            let gaps: Vec<(String, i64, String)> = sqlx::query_as(
                "SELECT name, step, value FROM metrics_not_finite WHERE run_id = $1 AND step >= $2 AND step < $3")
                .bind($run.0)
                .bind(from)
                .bind(to)
                .fetch_all(&mut *$tx)
                .await?;
            for (name, chunk, points) in $crate::points::chunks(rows, gaps) {
                sqlx::query(
                    "INSERT INTO metric_chunks (run_id, name, chunk, points) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (run_id, name, chunk) DO UPDATE SET points = EXCLUDED.points")
                    .bind($run.0)
                    .bind(name)
                    .bind(chunk)
                    .bind(points)
                    .execute(&mut *$tx)
                    .await?;
            }
            sqlx::query("UPDATE runs SET packed_to = $2 WHERE id = $1")
                .bind($run.0)
                .bind(to)
                .execute(&mut *$tx)
                .await?;
        }
    };
}

/// Removes the copies of points from a step on, because these points change.
macro_rules! unpack_from {
    ($tx:ident, $run:expr, $step:expr) => {
        let start = $crate::points::chunk_start($step).max(0);
        let changed = sqlx::query("UPDATE runs SET packed_to = $2 WHERE id = $1 AND packed_to > $2")
            .bind($run.0)
            .bind(start)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if changed > 0 {
            sqlx::query("DELETE FROM metric_chunks WHERE run_id = $1 AND chunk >= $2")
                .bind($run.0)
                .bind(start / $crate::points::CHUNK)
                .execute(&mut *$tx)
                .await?;
        }
    };
}
pub(crate) use {pack, unpack_from};

impl Store {
    /// The points of a run's curves from one step to another, both included: of the named curves, or of all when there are
    /// no names. Unlike [`Store::metrics`] it includes values that are not finite.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn curves(
        &self,
        run: RunId,
        names: &[String],
        from: i64,
        to: i64,
    ) -> Result<Curves, StoreError> {
        let packed_to: Option<i64> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT packed_to FROM runs WHERE id = $1")
                .bind(run.0)
                .fetch_optional(pool)
                .await?);
        let packed_to = packed_to.unwrap_or(0);
        let mut curves = Curves::new();
        if from < packed_to {
            let last = to.min(packed_to - 1);
            let chunks: Vec<(String, i64, Vec<u8>)> = with_db!(self, pool => {
                let mut query = QueryBuilder::new("SELECT name, chunk, points FROM metric_chunks WHERE run_id = ");
                query.push_bind(run.0).push(" AND chunk >= ").push_bind(from.div_euclid(CHUNK));
                query.push(" AND chunk <= ").push_bind(last.div_euclid(CHUNK));
                only(&mut query, names);
                query.push(" ORDER BY name, chunk").build_query_as().fetch_all(pool).await?
            });
            for (name, chunk, bytes) in chunks {
                unpacked(chunk * CHUNK, &bytes, curves.entry(name).or_default());
            }
            curves.values_mut().for_each(|points| points.retain(|point| (from..=to).contains(&point.0)));
        }
        let first = from.max(packed_to);
        let rows: Vec<(String, i64, f64)> = with_db!(self, pool => {
            let mut query = QueryBuilder::new("SELECT name, step, value FROM metrics WHERE run_id = ");
            query.push_bind(run.0).push(" AND step >= ").push_bind(first).push(" AND step <= ").push_bind(to);
            only(&mut query, names);
            query.push(" ORDER BY step, name").build_query_as().fetch_all(pool).await?
        });
        let gaps: Vec<(String, i64, String)> = with_db!(self, pool => {
            let mut query = QueryBuilder::new("SELECT name, step, value FROM metrics_not_finite WHERE run_id = ");
            query.push_bind(run.0).push(" AND step >= ").push_bind(first).push(" AND step <= ").push_bind(to);
            only(&mut query, names);
            query.build_query_as().fetch_all(pool).await?
        });
        add_rows(&mut curves, rows, gaps);
        curves.retain(|_, points| !points.is_empty());
        Ok(curves)
    }

    /// The names of a run's curves, in order.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn curve_names(&self, run: RunId) -> Result<Vec<String>, StoreError> {
        Ok(with_db!(self, pool => sqlx::query_scalar(
            "SELECT name FROM metric_chunks WHERE run_id = $1 \
             UNION SELECT name FROM metrics WHERE run_id = $1 AND step >= (SELECT packed_to FROM runs WHERE id = $1) \
             UNION SELECT name FROM metrics_not_finite WHERE run_id = $1 \
             ORDER BY 1")
            .bind(run.0)
            .fetch_all(pool)
            .await?))
    }

    /// Whether the points of all complete chunks of a run are packed.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn is_packed(&self, run: RunId) -> Result<bool, StoreError> {
        let row: Option<(i64, i64)> = with_db!(self, pool =>
            sqlx::query_as("SELECT packed_to, step FROM runs WHERE id = $1")
                .bind(run.0)
                .fetch_optional(pool)
                .await?);
        Ok(row.is_none_or(|(packed_to, step)| packed_to >= chunk_start(step)))
    }

    /// Packs the points of complete chunks up to the run's step, for runs that were written by an earlier version or were
    /// registered. Returns whether there is more to pack.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn pack_points(&self, run: RunId) -> Result<bool, StoreError> {
        let (packed_to, step): (i64, i64) = in_transaction!(self, tx => {
            let step: i64 = sqlx::query_scalar("SELECT step FROM runs WHERE id = $1")
                .bind(run.0)
                .fetch_optional(&mut *tx)
                .await?
                .unwrap_or(0);
            pack!(tx, run, step);
            sqlx::query_as("SELECT packed_to, step FROM runs WHERE id = $1")
                .bind(run.0)
                .fetch_optional(&mut *tx)
                .await?
                .unwrap_or((0, 0))
        });
        Ok(packed_to < chunk_start(step))
    }
}

/// Restricts a query to curves of these names; no restriction without names.
fn only<'a, Db: sqlx::Database>(query: &mut QueryBuilder<Db>, names: &'a [String])
where
    &'a str: sqlx::Encode<'a, Db> + sqlx::Type<Db>,
{
    if names.is_empty() {
        return;
    }
    query.push(" AND name IN (");
    let mut list = query.separated(", ");
    for name in names {
        list.push_bind(name.as_str());
    }
    query.push(")");
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, chunk_start, chunks, not_finite, not_finite_text, unpacked};

    #[test]
    fn a_packed_chunk_gives_back_its_points() {
        let rows = [(512, 0.5), (700, f64::MAX), (1023, -0.0), (1024, 1.0 / 3.0)];
        let rows = rows.map(|(step, value)| ("loss".to_owned(), step, value)).to_vec();
        let gaps = vec![("loss".to_owned(), 600, "nan".to_owned())];
        let mut read = Vec::new();
        let chunks = chunks(rows, gaps);
        assert_eq!(chunks.iter().map(|(_, chunk, _)| *chunk).collect::<Vec<_>>(), [1, 2]);
        for (_, chunk, bytes) in chunks {
            unpacked(chunk * CHUNK, &bytes, &mut read);
        }
        assert_eq!(read.iter().map(|point| point.0).collect::<Vec<_>>(), [512, 600, 700, 1023, 1024]);
        assert!(read[1].1.is_nan());
        assert_eq!((read[0].1, read[2].1, read[4].1), (0.5, f64::MAX, 1.0 / 3.0));
    }

    #[test]
    fn values_that_are_not_finite_have_texts() {
        assert!(not_finite(not_finite_text(-f64::NAN)).is_nan());
        for value in [f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(not_finite(not_finite_text(value)), value);
        }
        assert_eq!((chunk_start(511), chunk_start(512), chunk_start(-1)), (0, 512, -512));
    }
}
