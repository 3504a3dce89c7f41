"""Fixture of the trainer's AdamW with 8-bit moments: three updates of one parameter by bitsandbytes' AdamW8bit, and the codes and
block maxima that it stores after the first.

The parameter is the smallest that bitsandbytes stores in 8 bits; the blocks of its gradient differ in size by decades.
"""

from pathlib import Path

import bitsandbytes
import numpy
import torch
from safetensors.torch import save_file

FIXTURE = Path(__file__).resolve().parent.parent / "crates" / "training" / "tests" / "fixtures" / "adamw_8bit.safetensors"
SHAPE = (64, 64)
UPDATES = 3
RATE = 1e-2


def main():
    random = numpy.random.Generator(numpy.random.PCG64(21))
    draw = lambda: torch.from_numpy(random.standard_normal(SHAPE).astype("float16")).float()
    tensors = {"start": draw()}
    decades = torch.linspace(-4, 0, SHAPE[0])[:, None]
    parameter = torch.nn.Parameter(tensors["start"].clone())
    optimiser = bitsandbytes.optim.AdamW8bit([parameter], lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    for update in range(UPDATES):
        gradient = (draw() * 10.0**decades).half().float()
        tensors[f"gradient.{update}"] = gradient.half()
        parameter.grad = gradient.clone()
        optimiser.step()
        tensors[f"after.{update}"] = parameter.detach().clone()
        if update == 0:
            state = optimiser.state[parameter]
            for name, kept in {"first": "1", "second": "2"}.items():
                tensors[name] = state[f"state{kept}"].flatten().clone()
                tensors[f"{name}.largest"] = state[f"absmax{kept}"].clone()
    tensors["start"] = tensors["start"].half()
    save_file(tensors, FIXTURE)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


main()
