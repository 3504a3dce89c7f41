//! What a process that computes asks of its machine.
#![expect(unsafe_code, reason = "settings of the C library and of the process")]

/// Stack of the threads that compute: address space, not memory.
const STACK: usize = 256 << 20;

/// Sets up the threads and memory of a process that computes. Must be called before any thread is started.
///
/// Freed memory is kept instead of returned: a training step allocates the same hundreds of megabytes again and
/// again, and page faults took a large part of its time.
#[expect(
    clippy::disallowed_methods,
    reason = "candle and cuBLAS read these settings from the environment and nowhere else"
)]
pub fn prepare() {
    // SAFETY: no other thread runs yet, so nobody reads the environment or allocates meanwhile.
    unsafe {
        #[cfg(target_env = "gnu")]
        {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
        // candle's own pool for elementwise work would spin beside ours, which has work for every core.
        if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        }
        // cuBLAS repeats its results bit for bit only with work space of a fixed size (its documentation, "Results
        // Reproducibility"); it reads this when a device is opened.
        if std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
            std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
    }
    // candle walks a graph by recursion: the threads that differentiate need deep stacks. That another pool is
    // there already can only mean that this was called before.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
}

/// The largest resident memory of this process so far, in bytes.
#[must_use]
pub fn peak_memory() -> u64 {
    // SAFETY: an all-zero rusage is valid, and getrusage only fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
    }
}
