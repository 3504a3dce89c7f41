//! Where generation requests are: how many are before one, and which step it is at. A client that gave its request a ticket asks
//! for it, and cancels it, by the ticket.

use domain::api::GenerationProgress;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the generator's thread tells of a request, and the request's client of itself.
#[derive(Debug, Default)]
pub(crate) struct Work {
    is_running: AtomicBool,
    step: AtomicU32,
    steps: AtomicU32,
    cancelled: Notify,
}

impl Work {
    /// The thread has taken the request, whose images take this many steps together.
    pub(crate) fn begin(&self, steps: u32) {
        self.steps.store(steps, Ordering::Relaxed);
        self.is_running.store(true, Ordering::Relaxed);
    }

    /// So many steps are done.
    pub(crate) fn reach(&self, step: u32) {
        self.step.store(step.min(self.steps.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Ends once the request is cancelled by its ticket.
    pub(crate) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}

#[derive(Debug)]
struct Entry {
    ticket: Option<String>,
    work: Arc<Work>,
}

/// The requests that wait or run, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<Vec<Entry>>>);

impl Places {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; none if another one has its ticket. It is removed when the place is dropped.
    pub(crate) fn enter(&self, ticket: Option<&str>) -> Option<Place> {
        let mut entries = self.entries();
        if ticket.is_some() && entries.iter().any(|entry| entry.ticket.as_deref() == ticket) {
            return None;
        }
        let work = Arc::new(Work::default());
        entries.push(Entry { ticket: ticket.map(str::to_owned), work: Arc::clone(&work) });
        Some(Place { places: self.clone(), work })
    }

    /// Where the request with this ticket is.
    pub(crate) fn progress(&self, ticket: &str) -> Option<GenerationProgress> {
        let entries = self.entries();
        let place = entries.iter().position(|entry| entry.ticket.as_deref() == Some(ticket))?;
        let work = &entries[place].work;
        let running = work.is_running.load(Ordering::Relaxed);
        Some(GenerationProgress {
            ahead: if running { 0 } else { u32::try_from(place).unwrap_or(u32::MAX) },
            running,
            step: work.step.load(Ordering::Relaxed),
            steps: work.steps.load(Ordering::Relaxed),
        })
    }

    /// Cancels the request with this ticket. Whether there was one.
    pub(crate) fn cancel(&self, ticket: &str) -> bool {
        let entries = self.entries();
        let found = entries.iter().find(|entry| entry.ticket.as_deref() == Some(ticket));
        found.inspect(|entry| entry.work.cancelled.notify_one()).is_some()
    }
}

/// The place of a request while its client waits.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    pub(crate) work: Arc<Work>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.entries().retain(|entry| !Arc::ptr_eq(&entry.work, &self.work));
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use domain::api::GenerationProgress;

    #[test]
    fn a_request_is_found_by_its_ticket_until_it_ends() {
        let places = Places::default();
        let first = places.enter(None).expect("a place");
        let second = places.enter(Some("mine")).expect("a place");
        assert!(places.enter(Some("mine")).is_none(), "one request per ticket");
        let at = |ahead, running, step, steps| Some(GenerationProgress { ahead, running, step, steps });
        assert_eq!(places.progress("mine"), at(1, false, 0, 0));
        assert_eq!(places.progress("other"), None);
        drop(first);
        assert_eq!(places.progress("mine"), at(0, false, 0, 0));
        second.work.begin(20);
        second.work.reach(7);
        assert_eq!(places.progress("mine"), at(0, true, 7, 20));
        assert!(places.cancel("mine") && !places.cancel("other"));
        drop(second);
        assert_eq!((places.progress("mine"), places.cancel("mine")), (None, false));
    }
}
