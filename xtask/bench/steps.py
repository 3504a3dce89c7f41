"""How a program is driven step by step: `cargo xtask bench` sends lines `step`, each is answered when it is done."""

import resource
import sys
import time


def answer(step, device=None):
    """Says `ready`, then answers each line with `<seconds> <peak bytes of memory>`, and with what the step returned.

    On a GPU, a torch.device, time ends when it has done all, and memory is its own."""
    gpu = None
    if device is not None and device.type == "cuda":
        from torch import cuda as gpu
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "step":
            sys.exit(f"expected `step`, got {line!r}")
        began = time.perf_counter()
        result = step()
        if gpu:
            gpu.synchronize(device)
        seconds = time.perf_counter() - began
        if gpu:
            peak_bytes = gpu.max_memory_allocated(device)
        else:
            peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{seconds:.6f} {peak_bytes}" + ("" if result is None else f" {result}"), flush=True)
