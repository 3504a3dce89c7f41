"""Fixtures of the types that weights may have: all values of 8-bit floats, and files of torch that would call something.

    floats.py    writes crates/diffusion/tests/fixtures/f8/ and torch_calls/
"""

import builtins
import io
import os

import torch
from safetensors.torch import save_file

from diffusion import FIXTURES

TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


class Call:
    """An object whose unpickling calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def rebuild_packed(bits, scale):
    """A function of a library that no reader knows."""
    return bits * scale


def load_from_bytes():
    content = io.BytesIO()
    torch.save(torch.arange(3.0), content)
    return Call(torch.storage._load_from_bytes, content.getvalue())


def main():
    bits = torch.arange(256, dtype=torch.int16).to(torch.uint8)
    tensors = {name: bits.clone().view(dtype) for name, dtype in TYPES.items()}
    (FIXTURES / "f8").mkdir(exist_ok=True)
    save_file(tensors, FIXTURES / "f8" / "values.safetensors")
    save_file({name: t.float() for name, t in tensors.items()}, FIXTURES / "f8" / "expected.safetensors")

    folder = FIXTURES / "torch_calls"
    folder.mkdir(exist_ok=True)
    weight = torch.arange(4.0)
    files = {
        "eval": {"weight": weight, "conv.weight": Call(builtins.eval, "1 + 1")},
        "system": {"weight": weight, "layers": [{"bias": Call(os.system, "touch torch_file_was_executed")}]},
        "getattr": {"weight": weight, "act": Call(builtins.getattr, str, "upper")},
        "own_rebuild": {"weight": weight, "conv.weight": Call(rebuild_packed, torch.arange(3.0), 2.0)},
        "load_from_bytes": {"weight": weight, "conv.weight": load_from_bytes()},
    }
    for name, content in files.items():
        for protocol in (0, 2, 4):
            torch.save(content, folder / f"{name}_{protocol}.pt", pickle_protocol=protocol)


if __name__ == "__main__":
    main()
