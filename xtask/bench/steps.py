"""How a program is driven step by step: `cargo xtask bench` sends lines `step`, each is answered when it is done."""

import resource
import sys
import time


def answer(step):
    """Says `ready`, then answers each line with `<seconds> <peak bytes of memory>`, and with what the step returned."""
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "step":
            sys.exit(f"expected `step`, got {line!r}")
        began = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - began
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{seconds:.6f} {peak_bytes}" + ("" if result is None else f" {result}"), flush=True)
