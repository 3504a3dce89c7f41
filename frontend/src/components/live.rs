//! Live pages: a stream of events, and what listens to it.

use leptos::prelude::{Effect, StoredValue, UpdateValue, WithValue, window_event_listener_untyped};
use leptos::task::spawn_local;

/// Calls `request` once, and whenever the page's stream tells of a change (`static/live.js`): one call at a time.
pub(crate) fn on_change<Request, Pending>(request: Request)
where
    Request: Fn() -> Pending + Clone + 'static,
    Pending: Future<Output = ()> + 'static,
{
    // Effects do not run on the server.
    Effect::new(move |_| {
        let calls = Calls { request: request.clone(), state: StoredValue::new((false, false)) };
        // A change before the page was hydrated.
        calls.clone().begin();
        // Lives as long as the page.
        let _listener = window_event_listener_untyped("live", move |_| calls.clone().begin());
    });
}

/// Calls that follow each other.
#[derive(Clone)]
struct Calls<Request> {
    request: Request,
    /// Whether a call is under way, and whether another must follow it.
    state: StoredValue<(bool, bool)>,
}

impl<Request, Pending> Calls<Request>
where
    Request: Fn() -> Pending + 'static,
    Pending: Future<Output = ()> + 'static,
{
    fn begin(self) {
        if self.state.with_value(|(is_busy, _)| *is_busy) {
            self.state.update_value(|(_, again)| *again = true);
            return;
        }
        self.state.update_value(|state| *state = (true, false));
        spawn_local(async move {
            loop {
                (self.request)().await;
                let again = self.state.with_value(|(_, again)| *again);
                self.state.update_value(|state| *state = (again, false));
                if !again {
                    break;
                }
            }
        });
    }
}
