//! Memory of large pages, reused from page to page: allocating hundreds of megabytes anew takes noticeable time.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers kept for reuse: one for each of the two image columns.
const KEPT: usize = 2;
/// Only buffers of at least this many bytes are kept.
const LARGE: usize = 1 << 20;

/// Buffers that are free for reuse, sorted by capacity.
#[derive(Debug, Default)]
pub(super) struct PageMemory(Mutex<Vec<Vec<u8>>>);

impl PageMemory {
    /// A buffer of `length` bytes with unspecified content.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Page {
        let kept = (length >= LARGE).then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).pop());
        let mut bytes = kept.flatten().unwrap_or_default();
        if bytes.capacity() < length {
            // Frees the small buffer before it allocates the larger one.
            drop(bytes);
            bytes = vec![0; length];
        }
        bytes.resize(length, 0);
        Page { bytes, memory: Arc::clone(self) }
    }
}

/// The bytes of a page. Dropping it returns a large buffer to its [`PageMemory`].
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    memory: Arc<PageMemory>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.bytes.capacity() < LARGE {
            return;
        }
        let mut kept = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(std::mem::take(&mut self.bytes));
        // `take` pops the largest one.
        kept.sort_unstable_by_key(Vec::capacity);
        if kept.len() > KEPT {
            drop(kept.remove(0));
        }
    }
}
