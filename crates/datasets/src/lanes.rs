//! Several files read at a time. The order of rows does not depend on how fast they are read: one row of each lane in
//! turn, and every lane reads its own share of the files one after the other.

use crate::error::ReadError;
use crate::pair::Row;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Most files read at a time.
pub const MOST: usize = 4;
/// Rows that a lane reads ahead, and bytes of their images; a row that is larger goes alone.
const AHEAD: usize = 16;
pub(crate) const AHEAD_BYTES: usize = 16 << 20;

/// Is given rows as they are read. `Break` says that nobody wants more.
pub type Emit<'a> = dyn FnMut(Row) -> ControlFlow<()> + 'a;

/// Reads one file.
type ReadFile = dyn Fn(&PathBuf, &mut Emit<'_>) -> Result<(), ReadError> + Send + Sync;

/// Files being read. Dropping it ends the reading.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Lane>,
    next: usize,
}

/// What one lane has read ahead.
#[derive(Debug)]
struct Lane {
    rows: Receiver<Result<Row, ReadError>>,
    room: Arc<Room>,
}

/// Bytes read ahead and not yet taken; none once nobody will take them.
#[derive(Debug)]
struct Room {
    held: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Room {
    /// Waits until so many bytes have room.
    fn enter(&self, bytes: usize) -> ControlFlow<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |held: &mut Option<usize>| held.is_some_and(|held| held > 0 && held + bytes > AHEAD_BYTES);
        let mut held = self.changed.wait_while(held, full).unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => {
                *held += bytes;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    fn set(&self, change: impl FnOnce(&mut Option<usize>)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.room.set(|held| *held = None);
    }
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
                let room = Arc::new(Room { held: Mutex::new(Some(0)), changed: Condvar::new() });
                let own = Arc::clone(&room);
                std::thread::spawn(move || {
                    run(files.iter().skip(lane).step_by(count), &*read, &sender, &room);
                });
                Lane { rows: receiver, room: own }
            })
            .collect();
        Self { lanes, next: 0 }
    }
}

fn run<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    read: &ReadFile,
    sender: &SyncSender<Result<Row, ReadError>>,
    room: &Room,
) {
    for file in files {
        let mut wanted = true;
        let ended = read(file, &mut |row| {
            wanted = room.enter(row.bytes()).is_continue() && sender.send(Ok(row)).is_ok();
            if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
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
            let lane = &self.lanes[self.next];
            match lane.rows.recv() {
                Ok(row) => {
                    let bytes = row.as_ref().map_or(0, Row::bytes);
                    lane.room.set(|held| *held = held.map(|held| held.saturating_sub(bytes)));
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
