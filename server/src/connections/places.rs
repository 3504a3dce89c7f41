//! Places for connections. When all are taken, a new connection gets the place of the one that has kept the server waiting
//! longest, so that silent clients cannot keep others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a new connection looks again for a place, if every connection has a request in progress.
const RECHECK: Duration = Duration::from_millis(50);

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    /// Number of places.
    most: usize,
    open: Mutex<HashMap<u64, Arc<Place>>>,
    /// Signals that a place has become free.
    freed: Notify,
    /// Counts events of all connections. Orders them by time without a clock.
    clock: Arc<AtomicU64>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default(), freed: Notify::new(), clock: Arc::default() })
    }

    /// Waits for a free place. Asks the connection that has kept the server waiting longest to leave.
    pub(super) async fn take(self: &Arc<Self>) -> TakenPlace {
        loop {
            if let Some(taken) = self.take_free() {
                return taken;
            }
            self.dismiss_one();
            // Elapses while every connection has a request in progress.
            drop(tokio::time::timeout(RECHECK, self.freed.notified()).await);
        }
    }

    fn take_free(self: &Arc<Self>) -> Option<TakenPlace> {
        let mut open = self.lock();
        if open.len() >= self.most {
            return None;
        }
        let id = self.clock.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place {
            requests: AtomicUsize::new(0),
            receiving: AtomicUsize::new(0),
            is_blocked: AtomicBool::new(false),
            changed: AtomicU64::new(id),
            is_dismissed: AtomicBool::new(false),
            dismissal: Notify::new(),
            clock: Arc::clone(&self.clock),
        });
        open.insert(id, Arc::clone(&place));
        Some(TakenPlace { id, place, places: Arc::clone(self) })
    }

    /// Asks the connection that has kept the server waiting longest to leave.
    pub(super) fn dismiss_one(&self) {
        let open = self.lock();
        let candidates = open.values().filter(|place| place.waits_for_client() && !place.is_dismissed());
        if let Some(place) = candidates.min_by_key(|place| place.changed.load(Ordering::Relaxed)) {
            place.is_dismissed.store(true, Ordering::Relaxed);
            place.dismissal.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Place>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of an open connection.
#[derive(Debug)]
pub(super) struct Place {
    /// Requests whose response has not been passed on completely.
    requests: AtomicUsize,
    /// Requests whose body has not arrived completely.
    receiving: AtomicUsize,
    /// Whether a response waits until the client reads.
    is_blocked: AtomicBool,
    /// When the connection was opened, or a request of it last began or ended, by the clock of `Places`.
    changed: AtomicU64,
    is_dismissed: AtomicBool,
    dismissal: Notify,
    clock: Arc<AtomicU64>,
}

impl Place {
    /// Whether the next event is the client's: it sends a request or a body, or reads a response.
    fn waits_for_client(&self) -> bool {
        self.is_silent()
            || self.receiving.load(Ordering::Relaxed) > 0
            || self.is_blocked.load(Ordering::Relaxed)
    }

    /// Whether there is no request in progress, and no response on its way.
    pub(super) fn is_silent(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.is_blocked.load(Ordering::Relaxed)
    }

    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Completes when the connection must make room for another one.
    pub(super) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    fn is_dismissed(&self) -> bool {
        self.is_dismissed.load(Ordering::Relaxed)
    }

    /// A request is in progress until the result is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> RequestInProgress {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.touch();
        RequestInProgress(Arc::clone(self))
    }

    /// A body is being received until the result is dropped.
    pub(super) fn begin_body(self: &Arc<Self>) -> BodyInProgress {
        self.receiving.fetch_add(1, Ordering::Relaxed);
        BodyInProgress(Arc::clone(self))
    }

    fn touch(&self) {
        self.changed.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A request that has no complete response.
pub(super) struct RequestInProgress(Arc<Place>);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// A body that has not arrived completely.
pub(super) struct BodyInProgress(Arc<Place>);

impl Drop for BodyInProgress {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place that is free again once this is dropped.
#[derive(Debug)]
pub(super) struct TakenPlace {
    id: u64,
    pub(super) place: Arc<Place>,
    places: Arc<Places>,
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        self.places.lock().remove(&self.id);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_dismissed(place: &super::Place) -> bool {
        timeout(Duration::from_millis(1), place.dismissed()).await.is_ok()
    }

    #[tokio::test]
    async fn the_client_that_has_kept_the_server_waiting_longest_makes_room() {
        let places = Places::new(3);
        let [working, silent, recent] = [places.take().await, places.take().await, places.take().await];
        let request = working.place.begin_request();
        drop(recent.place.begin_request());

        let next = tokio::spawn({
            let places = places.clone();
            async move { places.take().await }
        });
        timeout(Duration::from_secs(20), silent.place.dismissed()).await.expect("room is made");
        assert!(!is_dismissed(&working.place).await && !is_dismissed(&recent.place).await);
        drop(silent);
        let next = next.await.expect("a place");

        // A request that waits for its body, or for the client to read, makes room too.
        drop((next, recent));
        let [body, reader] = [places.take().await, places.take().await];
        let _requests = (body.place.begin_request(), reader.place.begin_request());
        places.dismiss_one();
        assert!(!is_dismissed(&body.place).await && !is_dismissed(&reader.place).await);
        let _receiving = body.place.begin_body();
        reader.place.set_blocked(true);
        places.dismiss_one();
        places.dismiss_one();
        assert!(is_dismissed(&body.place).await && is_dismissed(&reader.place).await);
        places.dismiss_one();
        assert!(!is_dismissed(&working.place).await);
        drop(request);
    }
}
