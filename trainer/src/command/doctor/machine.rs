//! The hardware of this machine.

use diffusion::device::{HAS_CUDA, gpus};

/// Prints version, processor, memory and GPUs.
pub(super) fn print_machine() {
    let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
    println!("diff-contrast-trainer {}", env!("CARGO_PKG_VERSION"));
    println!("built for: {}", if HAS_CUDA { "CPU and CUDA" } else { "CPU (no feature cuda)" });
    let [total, free] = ["MemTotal:", "MemAvailable:"].map(|field| memory(field).map(gigabytes));
    println!(
        "cpu: {} threads, {} of memory, {} free",
        rayon::current_num_threads(),
        total.as_deref().unwrap_or("unknown"),
        free.as_deref().unwrap_or("unknown")
    );
    for (number, gpu) in gpus().iter().enumerate() {
        println!(
            "cuda:{number}: {}, compute capability {}.{}, {} of memory, {} free",
            gpu.name,
            gpu.capability.0,
            gpu.capability.1,
            gigabytes(gpu.memory as f64),
            gigabytes(gpu.free as f64)
        );
    }
}

/// A field of `/proc/meminfo`, in bytes; `None` where the system has no such file.
fn memory(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
