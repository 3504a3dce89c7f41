//! Temporary memory of CPU kernels, reused from call to call.

use std::cell::RefCell;

thread_local! {
    /// Buffers of this thread that are not in use. Reusing them avoids the page faults of fresh megabytes.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with `len` scratch values of unspecified content.
pub(in crate::nn) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.with_borrow_mut(|pool| pool.push(buffer));
    result
}
