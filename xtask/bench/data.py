"""The side of the `datasets` package in `cargo xtask bench data`, and the shard that both sides read.

    data.py make FOLDER GIGABYTES    # writes FOLDER/train-00000-of-00001.parquet
    data.py read FOLDER              # prints `ready`, then answers `step` with `<seconds> <peak bytes> <pairs>`

Both sides read the same columns and use the length of every image; neither decodes images.
"""

import io
import pathlib
import resource
import sys
import time

COLUMNS = ["caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label", "model_0", "model_1"]
# As in the published files: images of about 170 kB, in groups of 1000 rows, written by the `datasets` package.
ROWS_PER_GROUP = 1000
SIDE = 512


def make(folder: pathlib.Path, gigabytes: float):
    import numpy
    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    draw = numpy.random.default_rng(0)
    images = []
    for _ in range(16):
        coarse = Image.fromarray(draw.integers(0, 256, (192, 192, 3), dtype=numpy.uint8))
        file = io.BytesIO()
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=93)
        images.append(file.getvalue())
    size = sum(map(len, images)) / len(images)
    groups = max(1, round(gigabytes * 1e9 / (2 * size * ROWS_PER_GROUP)))
    text, number = pyarrow.string(), pyarrow.float64()
    kinds = [text, pyarrow.binary(), pyarrow.binary(), number, number, pyarrow.bool_(), text, text]
    schema = pyarrow.schema(list(zip(COLUMNS, kinds)))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "train-00000-of-00001.parquet"
    temporary = folder / "making"
    with pyarrow.parquet.ParquetWriter(temporary, schema, compression="snappy") as writer:
        for group in range(groups):
            rows = range(group * ROWS_PER_GROUP, (group + 1) * ROWS_PER_GROUP)
            # Every image is unique, by bytes after its end; otherwise a dictionary would hold all images.
            unique = lambda row, side: images[(2 * row + side) % 16] + f"{row}-{side}".encode()
            # One row in nine is a tie, as in the published set.
            first = [0.5 if row % 9 == 0 else float(row % 2) for row in rows]
            columns = [
                [f"prompt number {row}" for row in rows],
                [unique(row, 0) for row in rows],
                [unique(row, 1) for row in rows],
                first,
                [1.0 - label for label in first],
                [True] * ROWS_PER_GROUP,
                ["model-a"] * ROWS_PER_GROUP,
                ["model-b"] * ROWS_PER_GROUP,
            ]
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)
    temporary.rename(target)
    print(f"{target}: {groups * ROWS_PER_GROUP} rows, {target.stat().st_size / 1e9:.2f} GB, images of {size / 1e3:.0f} kB")


def read(folder: pathlib.Path):
    import datasets

    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "step":
            sys.exit(f"expected `step`, got {line!r}")
        began = time.perf_counter()
        files = [str(file) for file in sorted(folder.glob("train-*.parquet"))]
        rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True, columns=COLUMNS)
        pairs = size = 0
        for row in rows:
            if row["has_label"] and row["label_0"] != row["label_1"]:
                pairs += 1
                size += len(row["jpg_0"]) + len(row["jpg_1"])
        assert size > 0, "no images"
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{seconds:.6f} {peak} {pairs}", flush=True)


if sys.argv[1] == "make":
    make(pathlib.Path(sys.argv[2]), float(sys.argv[3]))
else:
    read(pathlib.Path(sys.argv[2]))
