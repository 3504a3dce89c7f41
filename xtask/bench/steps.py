"""The protocol of `cargo xtask bench`: it sends lines `step` and waits for the answer to each."""

import resource
import sys
import time


def answer(step, device=None):
    """Prints `ready`, then answers each line with `<seconds> <peak bytes of memory>` and the result of the step, if it has one.

    On a GPU, a torch.device, the time includes the end of all its work, and the memory is that of the GPU."""
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
