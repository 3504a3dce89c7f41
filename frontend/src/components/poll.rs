//! What happens in the browser only: asking again and again, and being awake.

use leptos::prelude::{Effect, RwSignal, Set, document, set_timeout};
use leptos::task::spawn_local;
use std::ops::ControlFlow;
use std::time::Duration;

/// Calls `ask`, waits for it, waits `period`, and so on until it breaks. A hidden page asks nothing.
pub(crate) fn poll<Ask, Asking>(period: Duration, ask: Ask)
where
    Ask: Fn() -> Asking + Clone + 'static,
    Asking: Future<Output = ControlFlow<()>> + 'static,
{
    // Effects do not run on the server.
    Effect::new(move |_| again(period, ask.clone()));
}

fn again<Ask, Asking>(period: Duration, ask: Ask)
where
    Ask: Fn() -> Asking + Clone + 'static,
    Asking: Future<Output = ControlFlow<()>> + 'static,
{
    set_timeout(
        move || {
            spawn_local(async move {
                if document().hidden() || ask().await.is_continue() {
                    again(period, ask);
                }
            });
        },
        period,
    );
}

/// True once the browser has taken the island over: until then its forms post as without JavaScript.
pub(crate) fn awake() -> RwSignal<bool> {
    let awake = RwSignal::new(false);
    Effect::new(move |_| awake.set(true));
    awake
}
