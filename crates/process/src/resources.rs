//! Threads and memory of a process that computes.
#![expect(unsafe_code, reason = "settings of the C library and of the process")]

/// Stack size of the threads that compute. It is reserved as address space; memory is used as far as the stack grows.
const STACK: usize = 256 << 20;

/// Sets up the threads and memory of a process that computes. Must be called before any thread is started.
///
/// Freed memory is kept instead of returned to the system: every training step allocates the same hundreds of
/// megabytes, and page faults took a large part of its time.
#[expect(
    clippy::disallowed_methods,
    reason = "candle and cuBLAS read these settings only from the environment"
)]
pub fn prepare() {
    // SAFETY: no other thread runs yet, so none reads the environment or allocates at the same time.
    unsafe {
        #[cfg(target_env = "gnu")]
        {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
        // candle's own thread pool would compete with ours, which keeps every core busy.
        if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        }
        // cuBLAS results are reproducible bit for bit only with a workspace of fixed size (its documentation,
        // "Results Reproducibility"); cuBLAS reads this when a device is opened.
        if std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
            std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
        }
    }
    // candle traverses a graph recursively, so threads that run a backward pass need deep stacks. An error means that
    // this function was called before.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
}

/// The memory of this host in bytes; `None` where the system has no `/proc/meminfo`.
#[must_use]
pub fn memory_total() -> Option<u64> {
    meminfo("MemTotal:")
}

/// The memory of this host that a new process can use, in bytes; `None` as for [`memory_total`].
#[must_use]
pub fn memory_available() -> Option<u64> {
    meminfo("MemAvailable:")
}

/// The resident memory of this process, in bytes; `None` where the system has no `/proc/self/status`.
#[must_use]
pub fn memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

fn meminfo(field: &str) -> Option<u64> {
    kilobytes("/proc/meminfo", field)
}

/// The size that a file of the system states in kilobytes, in bytes.
fn kilobytes(file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The largest resident memory of this process so far, in bytes.
#[must_use]
pub fn peak_memory() -> u64 {
    u64::try_from(usage().ru_maxrss).unwrap_or(0) * 1024
}

/// The time that processor cores have spent on this process so far, in seconds.
#[must_use]
pub fn processor_seconds() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds and microseconds are far below 2^52")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let usage = usage();
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn usage() -> libc::rusage {
    // SAFETY: an all-zero rusage is valid, and getrusage only fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    }
}
