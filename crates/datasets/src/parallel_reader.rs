//! Reads several files of rows in parallel, in an order that does not depend on timing: reader `i` of `n` reads files
//! `i`, `i + n`, ... one after the other, and the iterator takes one row of each reader in turn.

use crate::error::ReadError;
use crate::pair::Row;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Most files read at the same time.
pub(crate) const MAX_READERS: usize = 4;
/// Most rows that one reader reads ahead.
const READ_AHEAD_ROWS: usize = 16;
/// Most bytes of images that one reader reads ahead. A row with more than that is read ahead alone.
pub(crate) const READ_AHEAD_BYTES: usize = 16 << 20;

/// Receives the rows of a file one by one. `Break` stops the reading.
pub(crate) type Emit<'a> = dyn FnMut(Row) -> ControlFlow<()> + 'a;

/// Reads one file.
type ReadFile = dyn Fn(&PathBuf, &mut Emit<'_>) -> Result<(), ReadError> + Send + Sync;

/// An iterator over the rows of all files. Dropping it stops its threads.
#[derive(Debug)]
pub(crate) struct ParallelReader {
    readers: Vec<Reader>,
    next: usize,
}

/// The receiving end of one reader thread.
#[derive(Debug)]
struct Reader {
    rows: Receiver<Result<Row, ReadError>>,
    budget: Arc<Budget>,
}

/// Bounds the bytes that a reader thread reads ahead.
#[derive(Debug)]
struct Budget {
    /// Bytes read ahead; `None` once the receiving end is gone.
    held: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Budget {
    /// Waits until `bytes` more fit into the budget. `Break` if the receiving end is gone.
    fn reserve(&self, bytes: usize) -> ControlFlow<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full =
            |held: &mut Option<usize>| held.is_some_and(|held| held > 0 && held + bytes > READ_AHEAD_BYTES);
        let mut held = self.changed.wait_while(held, full).unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => {
                *held += bytes;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    fn update(&self, change: impl FnOnce(&mut Option<usize>)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.budget.update(|held| *held = None);
    }
}

impl ParallelReader {
    /// Starts at most `count` threads that read `files`; `count` is clamped to 1 and [`MAX_READERS`].
    pub(crate) fn start<F>(files: Vec<PathBuf>, count: usize, read: F) -> Self
    where
        F: Fn(&PathBuf, &mut Emit<'_>) -> Result<(), ReadError> + Send + Sync + 'static,
    {
        let read: Arc<ReadFile> = Arc::new(read);
        let files = Arc::new(files);
        let count = count.clamp(1, MAX_READERS).min(files.len().max(1));
        let readers = (0..count)
            .map(|index| {
                let (sender, rows) = sync_channel(READ_AHEAD_ROWS);
                let (files, read) = (Arc::clone(&files), Arc::clone(&read));
                let budget = Arc::new(Budget { held: Mutex::new(Some(0)), changed: Condvar::new() });
                let reader = Reader { rows, budget: Arc::clone(&budget) };
                std::thread::spawn(move || {
                    read_files(files.iter().skip(index).step_by(count), &*read, &sender, &budget);
                });
                reader
            })
            .collect();
        Self { readers, next: 0 }
    }
}

/// The body of a reader thread: sends the rows of its files until the first error, or until nobody receives them.
fn read_files<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    read: &ReadFile,
    sender: &SyncSender<Result<Row, ReadError>>,
    budget: &Budget,
) {
    for file in files {
        let mut wanted = true;
        let ended = read(file, &mut |row| {
            wanted = budget.reserve(row.bytes()).is_continue() && sender.send(Ok(row)).is_ok();
            if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Err(error) = ended {
            // Sending fails only if the receiving end is gone, and then nobody needs the error.
            drop(sender.send(Err(error)));
            return;
        }
        if !wanted {
            return;
        }
    }
}

impl Iterator for ParallelReader {
    type Item = Result<Row, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.readers.is_empty() {
            self.next %= self.readers.len();
            let reader = &self.readers[self.next];
            match reader.rows.recv() {
                Ok(row) => {
                    let bytes = row.as_ref().map_or(0, Row::bytes);
                    reader.budget.update(|held| *held = held.map(|held| held.saturating_sub(bytes)));
                    self.next += 1;
                    return Some(row);
                }
                // This reader has finished; the one after it moves to its index.
                Err(_) => drop(self.readers.remove(self.next)),
            }
        }
        None
    }
}
