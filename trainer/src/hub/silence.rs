//! The end of a wait. The crate `hf-hub` waits for a server for ever, and gives no way to say how long: so its calls run on
//! a thread of their own, and whoever waits for them hears of every piece that arrives, or of nothing for too long.

use hf_hub::api::Progress;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Nothing arrived for too long. The thread goes on waiting and ends with the process.
#[derive(Debug)]
pub(super) struct Silence;

/// What happens to a file on its way.
#[derive(Debug)]
pub(super) enum Event {
    /// It has so many bytes, and begins (again).
    Begun(usize),
    /// So many bytes more are there.
    Arrived(usize),
    /// All are.
    Finished,
}

/// Passes on what the crate tells of a file.
pub(super) struct Reporter<T>(Sender<Heard<T>>);

enum Heard<T> {
    Event(Event),
    Result(T),
}

/// Runs `work` until it is done, or until neither its result nor an event came for `patience`. `hear` is told the events.
pub(super) fn unless_silent<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(Reporter<T>) -> T + Send + 'static,
    mut hear: impl FnMut(Event),
) -> Result<T, Silence> {
    let (sender, receiver) = channel();
    let reporter = Reporter(sender.clone());
    std::thread::spawn(move || {
        // Nobody waits any more if this cannot be sent.
        let _ = sender.send(Heard::Result(work(reporter)));
    });
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Heard::Event(event)) => hear(event),
            Ok(Heard::Result(result)) => return Ok(result),
            // Without a result the thread is at its end only where it panicked, and has said so.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(Silence),
        }
    }
}

impl<T> Reporter<T> {
    fn tell(&self, event: Event) {
        // As above.
        let _ = self.0.send(Heard::Event(event));
    }
}

impl<T> Progress for Reporter<T> {
    fn init(&mut self, size: usize, _: &str) {
        self.tell(Event::Begun(size));
    }

    fn update(&mut self, size: usize) {
        self.tell(Event::Arrived(size));
    }

    fn finish(&mut self) {
        self.tell(Event::Finished);
    }
}
