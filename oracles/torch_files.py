"""Fixtures of diffusion's torch_file: files written by torch, and the tensors that torch reads from them.

`NAME.pt` is the file; `NAME.safetensors` has every tensor of it by its dotted path. A `.pt` without a `.safetensors` must be refused.
See README.md.
"""

import argparse
import collections
import contextlib
import datetime
import io
import pathlib
import pickle
import shutil
import warnings
import zipfile

import numpy
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "crates" / "diffusion" / "tests" / "fixtures" / "torch_files"
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
NEW = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]


def values(*shape, seed=0, dtype=torch.float32):
    """Random values, the same in every run."""
    noise = numpy.random.Generator(numpy.random.PCG64(seed)).standard_normal(shape)
    if dtype == torch.complex64:
        return torch.complex(values(*shape, seed=seed), values(*shape, seed=seed + 1))
    scale = 1 if dtype.is_floating_point else 40
    whole = torch.from_numpy(numpy.asarray(noise * scale))
    return (whole if dtype.is_signed else whole.abs()).to(dtype)


def flatten(value, path=""):
    """Every tensor by its dotted path."""
    if isinstance(value, torch.Tensor):
        return {path or "tensor": value}
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {}
    def name(key):
        key = f"{key.__module__}.{key.__qualname__}" if isinstance(key, type) else str(key)
        return f"{path}.{key}" if path else key

    return {k: v for key, item in items for k, v in flatten(item, name(key)).items()}


def expect(name, value):
    tensors = {k: t.detach().clone(memory_format=torch.contiguous_format) for k, t in flatten(value).items()}
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"format": "pt"})


def both(name, value, formats=("zip", "legacy"), **options):
    """Writes an object in both formats, with the tensors that torch reads."""
    for kind, new in [(kind, kind == "zip") for kind in formats]:
        file = FOLDER / f"{name}_{kind}.pt"
        torch.save(value, file, _use_new_zipfile_serialization=new, **options)
        expect(f"{name}_{kind}", torch.load(file, weights_only=False))


@contextlib.contextmanager
def no_sources():
    """The old format contains the source and file path of each class: they are replaced, because they are neither ours nor reproducible."""
    there = torch.serialization.get_source_lines_and_file
    torch.serialization.get_source_lines_and_file = lambda of: ([f"class {of.__name__}: ..."], 1, f"{of.__name__}.py")
    try:
        yield
    finally:
        torch.serialization.get_source_lines_and_file = there


def views():
    base = values(4, 6, seed=1)
    storage = values(40, seed=2)
    return collections.OrderedDict(
        base=base,
        shared=base,
        transposed=base.t(),
        row=base[2],
        column=base[:, 3],
        stepped=base[1::2, ::3],
        offset=storage[7:19].view(3, 4),
        overlapping=storage.as_strided((5, 4), (2, 3), 1),
        expanded=storage[:3].expand(4, 3),
        expanded_inside=storage[:3].view(3, 1).expand(3, 4),
        fortran=values(3, 4, 5, seed=3).permute(2, 1, 0),
        channels_last=values(2, 3, 4, 5, seed=4).to(memory_format=torch.channels_last),
        permuted=values(2, 3, 4, seed=5).permute(1, 0, 2),
        scalar=torch.tensor(2.5),
        single=values(1, 1, 1, seed=6).transpose(0, 2),
        empty=torch.zeros(0, 3),
        empty_inside=torch.zeros(2, 0, 5).transpose(0, 2),
    )


class Callback:
    """A class that no reader knows."""

    def __init__(self):
        self.best = 0.25
        self.folder = pathlib.PurePosixPath("runs/1")


class Slots:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, "two"


class Attributes(dict):
    """A subclass of dict."""


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        self.scale = torch.nn.Parameter(values(2, seed=7))
        self.register_buffer("kept", values(3, seed=8))
        self.register_buffer("passing", values(3, seed=9), persistent=False)
        self.register_parameter("absent", None)
        for i, p in enumerate(self.body.parameters()):
            p.data = values(*p.shape, seed=20 + i)


class OwnTensor(torch.Tensor):
    """A subclass of Tensor."""


def dressed():
    """Tensors inside other objects."""
    marked, parameter = values(2, 3, seed=40).t(), torch.nn.Parameter(values(2, seed=41))
    marked.note, parameter.note = "seen", {"by": 1}
    return {"marked": marked, "parameter": parameter, "own": values(3, seed=42).as_subclass(OwnTensor)}


class Malice:
    def __reduce__(self):
        import os

        return os.system, ("touch torch_file_was_executed",)


def checkpoint():
    """What training frameworks store besides the weights."""
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters())
    for i, parameter in enumerate(network.parameters()):
        parameter.grad = values(*parameter.shape, seed=30 + i)
    optimiser.step()
    return {
        "epoch": 3,
        "global_step": 2**70,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": network.state_dict(),
        "optimizer_states": [optimiser.state_dict()],
        "callbacks": {Callback: {"best": torch.tensor(0.5)}, "Checkpoint": Callback()},
        "hparams": argparse.Namespace(rate=1e-4, sizes=(1, 2), nothing=None, flag=True, sub=argparse.Namespace(x=[1.5])),
        "numpy": [numpy.float64(1.5), numpy.int64(-3), numpy.arange(6).reshape(2, 3), numpy.array(["a", "b"], dtype=object)],
        "bytes": bytes(range(256)) * 2,
        "bytearray": bytearray(b"abc"),
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "slots": Slots(),
        "when": datetime.datetime(2024, 1, 2),
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cuda:0"),
        "default": collections.defaultdict(list, {"a": [values(2, seed=11)]}),
        "counter": collections.Counter("aab"),
        "attributes": Attributes(weight=values(2, seed=12)),
        "deque": collections.deque([1, 2]),
        "complex": 1 + 2j,
        "tuple": (values(1, seed=13), (values(2, seed=14), [torch.nn.Parameter(values(3, seed=15))])),
        "unicode": {"gew\u00f6lbe \u2192 \U0001f600": values(1, seed=16)},
        7: {None: {True: values(1, seed=17)}, -1: values(1, seed=18)},
    }


def repack(source, name, compression, change=lambda name, data: data):
    """The archive, copied member by member."""
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / name, "w", compression) as new:
        for member in old.namelist():
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            new.writestr(info, change(member, old.read(member)))


def big_endian(member, data):
    if member.endswith("/byteorder"):
        return b"big"
    return numpy.frombuffer(data, "<f4").astype(">f4").tobytes() if "/data/" in member else data


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)

    types = {str(d).removeprefix("torch."): values(2, 3, seed=i, dtype=d) for i, d in enumerate([*FLOATS, *INTEGERS, torch.complex64])}
    types["bool"] = torch.tensor([[True, False, True], [False, False, True]])
    both("types", types)
    both("types_turned", {k: t.t() for k, t in types.items()})
    # torch itself cannot read these from the old format.
    both("new_types", {str(d).removeprefix("torch."): values(2, 3, seed=i, dtype=d).t() for i, d in enumerate(NEW)}, ["zip"])
    both("views", views())
    for protocol in range(2, 6):
        # Longer than any name, once.
        both(f"checkpoint_{protocol}", checkpoint() | {"long": "x" * (70_000 if protocol == 2 else 7)}, pickle_protocol=protocol)
    both("checkpoint_1", {"a": values(2), "b": [1, {"c": values(2, 2)}]}, pickle_protocol=1)
    with no_sources():
        both("network", Network())
    both("bare", values(2, 3))
    both("dressed", dressed())

    repack("views_zip.pt", "deflated.pt", zipfile.ZIP_DEFLATED)
    expect("deflated", views())
    repack("views_zip.pt", "big_endian.pt", zipfile.ZIP_STORED, big_endian)
    expect("big_endian", torch.load(FOLDER / "big_endian.pt", weights_only=False))

    # Never loaded: the expected values come from the object itself.
    for kind, new in [("zip", True), ("legacy", False)]:
        torch.save({"weight": values(2), "payload": Malice()}, FOLDER / f"malice_{kind}.pt", _use_new_zipfile_serialization=new)
        expect(f"malice_{kind}", {"weight": values(2)})

    # Refused, each for a different reason.
    torch.save({"fine": values(2), "sparse": values(2, 2).to_sparse()}, FOLDER / "sparse.pt")
    torch.save({"fine": values(2), "rows": values(2, 2).to_sparse_csr()}, FOLDER / "sparse_rows.pt")
    torch.save({"fine": values(2), "quantised": torch.quantize_per_tensor(values(2, 2), 0.1, 0, torch.qint8)}, FOLDER / "quantised.pt")
    torch.save({"fine": values(2), "meta": torch.zeros(2, device="meta")}, FOLDER / "meta.pt")
    torch.save({"fine": values(2), "wide": values(2).to(torch.complex128)}, FOLDER / "complex128.pt")
    torch.save({"fine": values(2), "lazy": values(2, dtype=torch.complex64).conj()}, FOLDER / "conjugate.pt")
    torch.save({"a.b": values(2), "a": {"b": values(2)}}, FOLDER / "collision.pt")
    torch.save({"epoch": 1, "arrays": [numpy.zeros(2)]}, FOLDER / "no_tensors.pt")
    loop = {"weight": values(2)}
    loop["self"] = [loop]
    torch.save(loop, FOLDER / "loop.pt")
    torch.save({"state": {"weight": values(2)}, "object": argparse.Namespace(held=values(3))}, FOLDER / "held.pt")
    (FOLDER / "plain.pt").write_bytes(pickle.dumps({"a": 1}))
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = io.BytesIO()
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), values(1, 2)), script)
        (FOLDER / "script.pt").write_bytes(script.getvalue())


if __name__ == "__main__":
    # Classes of this file would be pickled as those of __main__, as scripts leave them.
    main()
