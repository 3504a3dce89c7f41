"""Fixture of the trainer's optimisers: six updates of three parameters by transformers' Adafactor.

The settings are those of the SDXL recipes (no relative step, no scaling by the parameter), without and with a first moment. Gradients
have very different sizes, so that the clipping of updates takes effect.
"""

from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from transformers import Adafactor

FIXTURE = Path(__file__).resolve().parent.parent / "crates" / "training" / "tests" / "fixtures" / "adafactor.safetensors"
SHAPES = {"matrix": (3, 5), "kernel": (4, 2, 3, 3), "bias": (6,)}
UPDATES = 6
RATE = 1e-2


def main():
    random = numpy.random.Generator(numpy.random.PCG64(20))
    draw = lambda shape: torch.from_numpy(random.standard_normal(shape).astype("float32"))
    tensors = {f"start.{name}": draw(shape) for name, shape in SHAPES.items()}
    for step in range(UPDATES):
        for name, shape in SHAPES.items():
            tensors[f"gradient.{step}.{name}"] = draw(shape) * 10.0 ** (step - 3)
    for case, beta1 in {"plain": None, "momentum": 0.9}.items():
        parameters = {name: torch.nn.Parameter(tensors[f"start.{name}"].clone()) for name in SHAPES}
        optimiser = Adafactor(
            parameters.values(), lr=RATE, beta1=beta1, clip_threshold=1.0, weight_decay=1e-2,
            scale_parameter=False, relative_step=False, warmup_init=False,
        )
        for step in range(UPDATES):
            for name, parameter in parameters.items():
                parameter.grad = tensors[f"gradient.{step}.{name}"].clone()
            optimiser.step()
            for name, parameter in parameters.items():
                tensors[f"{case}.{step}.{name}"] = parameter.detach().clone()
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, FIXTURE)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


main()
