//! What a process that computes asks of its machine.
#![expect(unsafe_code, reason = "settings of the C library and of the process")]

/// Keeps freed memory instead of returning it: a training step allocates the same hundreds of megabytes again and
/// again, and page faults were 39% of its time. Must be called before any thread is started.
pub fn prepare() {
    // SAFETY: no other thread runs yet, so nobody reads the environment or allocates meanwhile.
    unsafe {
        #[cfg(target_env = "gnu")]
        {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
        // candle's own pool would spin beside ours.
        if std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_none() {
            std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1");
        }
    }
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
