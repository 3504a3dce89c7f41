//! The hardware of this machine.

use diffusion::device::{HAS_CUDA, gpus};
use process::resources::{memory_available, memory_total};

/// Prints version, processor, memory and GPUs.
pub(super) fn print_machine() {
    let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
    println!("diff-contrast-trainer {}", env!("CARGO_PKG_VERSION"));
    println!("built for: {}", if HAS_CUDA { "CPU and CUDA" } else { "CPU (no feature cuda)" });
    let [total, free] =
        [memory_total(), memory_available()].map(|bytes| bytes.map(|bytes| gigabytes(bytes as f64)));
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
