//! Several files read at a time. The order of rows does not depend on how fast they are read: one row of each lane in
//! turn, and every lane reads its own share of the files one after the other.

use crate::error::ReadError;
use crate::pair::Row;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Most files read at a time.
pub const MOST: usize = 4;
/// Rows that a lane reads ahead.
const AHEAD: usize = 16;

/// Is given rows as they are read. `Break` says that nobody wants more.
pub type Emit<'a> = dyn FnMut(Row) -> ControlFlow<()> + 'a;

/// Reads one file.
type ReadFile = dyn Fn(&PathBuf, &mut Emit<'_>) -> Result<(), ReadError> + Send + Sync;

/// Files being read. Dropping it ends the reading.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Receiver<Result<Row, ReadError>>>,
    next: usize,
}

impl Lanes {
    /// Reads `files` in at most `count` lanes.
    pub fn start<F>(files: Vec<PathBuf>, count: usize, read: F) -> Self
    where
        F: Fn(&PathBuf, &mut Emit<'_>) -> Result<(), ReadError> + Send + Sync + 'static,
    {
        let read: Arc<ReadFile> = Arc::new(read);
        let files = Arc::new(files);
        let count = count.clamp(1, MOST).min(files.len().max(1));
        let lanes = (0..count)
            .map(|lane| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (files, read) = (Arc::clone(&files), Arc::clone(&read));
                std::thread::spawn(move || run(files.iter().skip(lane).step_by(count), &*read, &sender));
                receiver
            })
            .collect();
        Self { lanes, next: 0 }
    }
}

fn run<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    read: &ReadFile,
    sender: &SyncSender<Result<Row, ReadError>>,
) {
    for file in files {
        let mut wanted = true;
        let ended = read(file, &mut |row| match sender.send(Ok(row)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => {
                wanted = false;
                ControlFlow::Break(())
            }
        });
        if let Err(error) = ended {
            // Whoever listens stops at the first error; if nobody does, nobody misses it.
            drop(sender.send(Err(error)));
            return;
        }
        if !wanted {
            return;
        }
    }
}

impl Iterator for Lanes {
    type Item = Result<Row, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.lanes.is_empty() {
            self.next %= self.lanes.len();
            match self.lanes[self.next].recv() {
                Ok(row) => {
                    self.next += 1;
                    return Some(row);
                }
                // The lane is done; its place is the next one's.
                Err(_) => drop(self.lanes.remove(self.next)),
            }
        }
        None
    }
}
