//! Changes of jobs and runs, for pages that follow them. Workers write to the database, so it is asked, once per interval for
//! all streams together, and only while there is a stream.

use crate::error::ApiError;
use axum::response::sse::Event;
use domain::api::Changes;
use domain::id::{JobId, RunId};
use process::ambient;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{ActiveJob, Store, StoreError};
use tokio::sync::{Semaphore, mpsc, watch};

/// Time between two questions to the database.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most streams at once.
const STREAMS: usize = 256;
/// Changes that are kept for streams that were interrupted.
const KEPT: usize = 600;

/// The source of all streams. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Events(Arc<Shared>);

struct Shared {
    store: Store,
    /// Tells cursors of this process from those of an earlier one.
    epoch: String,
    places: Arc<Semaphore>,
    /// Number of the newest change, from 1.
    newest: watch::Sender<u64>,
    stopped: watch::Sender<bool>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Jobs at the last question; none before the first.
    jobs: Option<BTreeMap<JobId, ActiveJob>>,
    /// The last changes with their numbers.
    changes: VecDeque<(u64, BTreeMap<JobId, Option<RunId>>)>,
    streams: usize,
    is_asking: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Counts a stream until it ends.
struct Stream(Arc<Shared>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.seen().streams -= 1;
    }
}

impl Events {
    pub(crate) fn new(store: Store) -> Self {
        let epoch = ambient::entropy::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Arc::new(Shared {
            store,
            epoch,
            places: Arc::new(Semaphore::new(STREAMS)),
            newest: watch::Sender::new(0),
            stopped: watch::Sender::new(false),
            seen: Mutex::default(),
        }))
    }

    /// Ends all streams, and every later one at once.
    pub(crate) fn end(&self) {
        self.0.stopped.send_replace(true);
    }

    /// The cursor of a stream that begins now: what was read from the database before is older, what is read later may not be.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub(crate) async fn cursor(&self) -> Result<String, StoreError> {
        let is_asking = self.0.seen().is_asking;
        if !is_asking {
            let jobs = self.0.store.active_jobs().await?;
            self.0.compare(jobs);
        }
        let newest = *self.0.newest.borrow();
        Ok(self.0.cursor(newest))
    }

    /// The events after a cursor, or from now on; with `run`, those of one run.
    ///
    /// # Errors
    /// Fails with 503 if there are too many streams; with 422 if the text is no cursor.
    pub(crate) fn follow(
        &self,
        cursor: Option<&str>,
        run: Option<RunId>,
    ) -> Result<mpsc::Receiver<Result<Event, Infallible>>, ApiError> {
        let shared = Arc::clone(&self.0);
        let mut at = match cursor {
            Some(text) => shared.place(text)?,
            None => Some(*shared.newest.borrow()),
        };
        let place = Arc::clone(&shared.places).try_acquire_owned();
        let place = place.map_err(|_| ApiError::occupied("Too many pages are followed."))?;
        let stream = self.open();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let (_place, _stream) = (place, stream);
            let (mut newest, mut stopped) = (shared.newest.subscribe(), shared.stopped.subscribe());
            loop {
                if *stopped.borrow() {
                    return;
                }
                let number = *newest.borrow_and_update();
                if let Some(changes) = shared.after(at, number, run)
                    && sender.send(Ok(event(&shared.cursor(number), &changes))).await.is_err()
                {
                    return;
                }
                at = Some(number);
                tokio::select! {
                    changed = newest.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                    _ = stopped.changed() => return,
                }
            }
        });
        Ok(receiver)
    }

    /// Counts a stream, and begins to ask the database with the first.
    fn open(&self) -> Stream {
        let mut seen = self.0.seen();
        seen.streams += 1;
        if !seen.is_asking {
            seen.is_asking = true;
            tokio::spawn(ask(Arc::clone(&self.0)));
        }
        drop(seen);
        Stream(Arc::clone(&self.0))
    }
}

/// Asks the database while there is a stream.
async fn ask(shared: Arc<Shared>) {
    loop {
        match shared.store.active_jobs().await {
            Ok(jobs) => shared.compare(jobs),
            // The next question makes up for it.
            Err(error) => tracing::debug!("changes could not be read: {error}"),
        }
        tokio::time::sleep(INTERVAL).await;
        let mut seen = shared.seen();
        if seen.streams == 0 {
            seen.is_asking = false;
            return;
        }
    }
}

/// The event of these changes.
fn event(cursor: &str, changes: &Changes) -> Event {
    // Ids and a flag are always JSON.
    let data =
        serde_json::to_string(changes).unwrap_or_else(|_| r#"{"all":true,"jobs":[],"runs":[]}"#.to_owned());
    Event::default().event("change").id(cursor).data(data)
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// The number in a cursor; none if it is of another process.
    fn place(&self, cursor: &str) -> Result<Option<u64>, ApiError> {
        let parts = cursor.split_once('-').and_then(|(epoch, number)| Some((epoch, number.parse().ok()?)));
        let Some((epoch, number)) = parts else {
            let problem = format!("{cursor:?} is not the id of an event: begin without a cursor");
            return Err(ApiError::field("cursor", problem));
        };
        Ok((epoch == self.epoch).then_some(number))
    }

    /// Records what differs from the previous answer of the database.
    fn compare(&self, jobs: Vec<ActiveJob>) {
        let now: BTreeMap<JobId, ActiveJob> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let mut seen = self.seen();
        let Some(before) = seen.jobs.replace(now) else { return };
        let now = seen.jobs.iter().flatten();
        let changed = now.filter(|&(id, job)| before.get(id) != Some(job)).map(|(id, job)| (*id, job.run));
        let mut changed: BTreeMap<JobId, Option<RunId>> = changed.collect();
        let gone = before.iter().filter(|&(id, _)| !seen.jobs.iter().any(|now| now.contains_key(id)));
        changed.extend(gone.map(|(id, job)| (*id, job.run)));
        if changed.is_empty() {
            return;
        }
        let number = *self.newest.borrow() + 1;
        seen.changes.push_back((number, changed));
        if seen.changes.len() > KEPT {
            seen.changes.pop_front();
        }
        // Before the lock is free: the next number follows this one.
        self.newest.send_replace(number);
    }

    /// What has changed after one number up to another; none if nothing has, or nothing of the run.
    fn after(&self, from: Option<u64>, to: u64, run: Option<RunId>) -> Option<Changes> {
        let seen = self.seen();
        let oldest = seen.changes.front().map_or(1, |(number, _)| *number);
        let Some(from) = from.filter(|from| from + 1 >= oldest && *from <= to) else {
            return Some(Changes { all: true, ..Changes::default() });
        };
        let new = seen.changes.iter().filter(|(number, _)| (from + 1..=to).contains(number));
        let changed: BTreeSet<(JobId, Option<RunId>)> = new
            .flat_map(|(_, jobs)| jobs.iter().map(|(job, run)| (*job, *run)))
            .filter(|(_, of)| run.is_none_or(|run| *of == Some(run)))
            .collect();
        if changed.is_empty() {
            return None;
        }
        let jobs: BTreeSet<JobId> = changed.iter().map(|(job, _)| *job).collect();
        let runs: BTreeSet<RunId> = changed.iter().filter_map(|(_, run)| *run).collect();
        Some(Changes { all: false, jobs: jobs.into_iter().collect(), runs: runs.into_iter().collect() })
    }
}
