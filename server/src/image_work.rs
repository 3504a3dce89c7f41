//! Work on images for a page or a file: drawing, decoding, reading them from sets. It is bounded for all clients together,
//! and stops once its client has left.

use crate::error::ApiError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Time that a request waits for the work of others to end.
const WAIT: Duration = Duration::from_secs(5);

/// A bound of one kind of work.
#[derive(Clone, Debug)]
pub(crate) struct ImageWork {
    permits: Arc<Semaphore>,
    /// What a request is told that gets no permit in time: a sentence.
    occupied: &'static str,
}

/// Sets its flag when it is dropped: with the future of a request, which the server drops when the client disconnects.
#[derive(Default)]
struct Client(Arc<AtomicBool>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ImageWork {
    /// At most `at_once` requests work at the same time.
    pub(crate) fn new(at_once: usize, occupied: &'static str) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), occupied }
    }

    /// A permit, for work that outlives this call.
    ///
    /// # Errors
    /// Fails with 503 if none is free in time.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        permit.map_err(|_| ApiError::occupied(self.occupied))?.map_err(ApiError::internal)
    }

    /// Runs `work` on a thread for blocking work. Its argument tells whether the client is still there; work that takes
    /// longer than a moment asks now and then, and returns anything once it is not.
    ///
    /// # Errors
    /// Fails with 503 if no permit is free in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.permit().await?;
        let client = Client::default();
        let left = Arc::clone(&client.0);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&|| !left.load(Ordering::Relaxed))
        });
        let done = done.await.map_err(ApiError::internal);
        drop(client);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageWork, WAIT};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    #[tokio::test(flavor = "multi_thread")]
    async fn work_stops_when_its_client_leaves_and_then_others_run() {
        let work = ImageWork::new(1, "Busy.");
        let turns = Arc::new(AtomicU32::new(0));
        let request = {
            let (work, turns) = (work.clone(), turns.clone());
            tokio::spawn(async move {
                work.run(move |wanted| {
                    while wanted() {
                        turns.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
                .await
            })
        };
        while turns.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        request.abort();
        assert!(work.run(|wanted| wanted()).await.expect("a permit"));
        let after = turns.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(turns.load(Ordering::Relaxed), after, "abandoned work goes on");
    }

    #[tokio::test]
    async fn a_request_beyond_the_bound_is_refused_after_a_wait() {
        let work = ImageWork::new(1, "Two exports are running.");
        let held = work.permit().await.expect("the permit");
        let began = Instant::now();
        let refused = work.run(|_| ()).await.expect_err("none is free");
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.message(), "Two exports are running. Retry in 2 seconds.");
        assert!(began.elapsed() >= WAIT, "refused before the wait was over");
        drop(held);
        work.run(|_| ()).await.expect("a permit");
    }
}
