//! Timeouts of downloads. `hf-hub` waits for a server without limit and offers no timeout, so its calls run on a
//! thread of their own, and the caller waits for the next event of that thread for a bounded time.

use hf_hub::api::Progress;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// No event came within the timeout. The thread keeps waiting and ends with the process.
#[derive(Debug)]
pub(super) struct Stalled;

/// Progress of a download.
#[derive(Debug)]
pub(super) enum Event {
    /// It starts or starts again, with this size in bytes.
    Started(usize),
    /// This many more bytes arrived.
    Received(usize),
    /// All bytes arrived.
    Finished,
}

/// Forwards `hf-hub`'s progress to the waiting caller.
pub(super) struct Reporter<T>(Sender<Message<T>>);

enum Message<T> {
    Event(Event),
    Result(T),
}

/// Runs `work` until it returns, or until neither its result nor an event came for `timeout`.
pub(super) fn unless_stalled<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce(Reporter<T>) -> T + Send + 'static,
    mut on_event: impl FnMut(Event),
) -> Result<T, Stalled> {
    let (sender, receiver) = channel();
    let reporter = Reporter(sender.clone());
    std::thread::spawn(move || {
        // Sending fails only if the caller has returned.
        let _ = sender.send(Message::Result(work(reporter)));
    });
    loop {
        match receiver.recv_timeout(timeout) {
            Ok(Message::Event(event)) => on_event(event),
            Ok(Message::Result(result)) => return Ok(result),
            // Disconnected without a result: the thread panicked, and the panic has been printed.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(Stalled),
        }
    }
}

impl<T> Reporter<T> {
    fn send(&self, event: Event) {
        // Sending fails only if the caller has returned.
        let _ = self.0.send(Message::Event(event));
    }
}

impl<T> Progress for Reporter<T> {
    fn init(&mut self, size: usize, _: &str) {
        self.send(Event::Started(size));
    }

    fn update(&mut self, size: usize) {
        self.send(Event::Received(size));
    }

    fn finish(&mut self) {
        self.send(Event::Finished);
    }
}
