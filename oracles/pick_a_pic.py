"""Small parquet files with the columns of Pick-a-Pic v2, written by pyarrow: valid, invalid and hostile ones.

    python oracles/pick_a_pic.py        # writes crates/datasets/tests/fixtures/pick_a_pic/

`expected.json` beside them states the outcome of each row by the rule of crates/datasets/src/pick_a_pic.
"""

import datetime
import io
import json
import pathlib
import shutil
import struct
import zlib

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent / "crates/datasets/tests/fixtures/pick_a_pic"

TEXT = pyarrow.string()
SCHEMA = pyarrow.schema([
    ("are_different", pyarrow.bool_()),
    ("best_image_uid", TEXT),
    ("caption", TEXT),
    ("created_at", pyarrow.timestamp("ns")),
    ("has_label", pyarrow.bool_()),
    ("image_0_uid", TEXT),
    ("image_0_url", TEXT),
    ("image_1_uid", TEXT),
    ("image_1_url", TEXT),
    ("jpg_0", pyarrow.binary()),
    ("jpg_1", pyarrow.binary()),
    ("label_0", pyarrow.float64()),
    ("label_1", pyarrow.float64()),
    ("model_0", TEXT),
    ("model_1", TEXT),
    ("ranking_id", pyarrow.int64()),
    ("user_id", pyarrow.int64()),
    ("num_example_per_prompt", pyarrow.int64()),
    ("__index_level_0__", pyarrow.int64()),
])


def jpeg(seed, width=48, height=40):
    """A different image for each seed."""
    draw = numpy.random.default_rng(seed)
    small = draw.integers(0, 256, (4, 4, 3), dtype=numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def huge_png():
    """A few bytes that claim 65535 x 65535 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def row(index, **changed):
    base = {
        "are_different": True,
        "best_image_uid": f"uid-{index}-0",
        "caption": f"prompt {index}",
        "created_at": datetime.datetime(2023, 3, 1, 12, 0, index % 60),
        "has_label": True,
        "image_0_uid": f"uid-{index}-0",
        "image_0_url": f"pictures/{index}-0.jpg",
        "image_1_uid": f"uid-{index}-1",
        "image_1_url": f"pictures/{index}-1.jpg",
        "jpg_0": jpeg(2 * index),
        "jpg_1": jpeg(2 * index + 1),
        "label_0": 1.0,
        "label_1": 0.0,
        "model_0": "stabilityai/stable-diffusion-2-1",
        "model_1": "dreamlike-art/dreamlike-photoreal-2.0",
        "ranking_id": index,
        "user_id": 7,
        "num_example_per_prompt": 1,
        "__index_level_0__": index,
    }
    base.update(changed)
    return base


SECOND = {"label_0": 0.0, "label_1": 1.0}

# Each row with its outcome: "first" or "second" wins, or the reason why it is dropped (damaged images: after decoding).
ROWS = [
    (row(0), "first"),
    (row(1, **SECOND), "second"),
    (row(2, label_0=0.5, label_1=0.5, best_image_uid="none"), "tie"),
    (row(3, label_0=None), "no_label"),
    (row(4, has_label=False), "no_label"),
    (row(5, caption="日本の庭園, élégant 🌸 – “Ünïcödé”"), "first"),
    (row(6, jpg_1=jpeg(13)[:700]), "damaged_image"),
    (row(7, jpg_0=None), "missing_image"),
    (row(8, caption="  "), "no_prompt"),
    (row(9, caption=None), "no_prompt"),
    (row(10, label_0=1.0, label_1=1.0), "bad_label"),
    (row(11, jpg_0=b"<html>404</html>", **SECOND), "damaged_image"),
    (row(12, jpg_1=b"", **SECOND), "missing_image"),
    (row(13, image_0_uid="../../../../etc/passwd", image_0_url="/etc/passwd", jpg_0=huge_png()), "damaged_image"),
    (row(14, model_0="dreamlike-art/dreamlike-diffusion-1.0", **SECOND), "second"),
    (row(15, has_label=None), "first"),
    (row(16, label_1=float("nan")), "no_label"),
    (row(17, jpg_0=jpeg(34, 33, 64), jpg_1=jpeg(35, 64, 33)), "first"),
]


def table(rows, schema=SCHEMA):
    return pyarrow.Table.from_pylist(rows, schema=schema)


def write(name, tables, schema=SCHEMA, **options):
    file = ROOT / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(file, schema, **options) as writer:
        for part in tables:
            writer.write_table(part)
    return file


def change(schema, name, kind):
    return schema.set(schema.get_field_index(name), pyarrow.field(name, kind))


def write_compressions():
    """Three rows by each codec, with pages of both versions; "brotli" is not read."""
    for codec in ["gzip", "lz4", "brotli"]:
        for version in ["1.0", "2.0"]:
            rows = [row(80), row(81, **SECOND), row(82)]
            write(f"{codec}/part-{version[0]}.parquet", [table(rows)], compression=codec, data_page_version=version)


def write_labels():
    """Labels as true and false (with has_label as a number), and as numbers of other widths."""
    flags = change(change(change(SCHEMA, "label_0", pyarrow.bool_()), "label_1", pyarrow.bool_()), "has_label", pyarrow.int8())
    rows = [row(90), row(91, **SECOND), row(92, label_1=1.0), row(93, label_0=0.0), row(94, has_label=False)]
    rows = [dict(r, label_0=bool(r["label_0"]), label_1=bool(r["label_1"]), has_label=int(r["has_label"])) for r in rows]
    write("labels_bool/train.parquet", [table(rows, flags)], flags)
    small = change(change(SCHEMA, "label_0", pyarrow.uint8()), "label_1", pyarrow.int8())
    rows = [dict(r, label_0=int(r["label_0"]), label_1=int(r["label_1"])) for r in [row(95), row(96, **SECOND)]]
    write("labels_int/train.parquet", [table(rows, small)], small)


def write_splits():
    """Files of two splits, and the layout of the hub's own conversion."""
    for split in ["train", "validation"]:
        write(f"splits/pickapic_{split}_0.parquet", [table([row(97)])])
        write(f"converted/default/{split}/0000.parquet", [table([row(98)])])


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    rows = [r for r, _ in ROWS]
    # Row groups of 7, 0, 7 and the remaining rows; Snappy and dictionaries, as in the published files.
    first = write(
        "sound/data/train-00000-of-00003-0123456789abcdef.parquet",
        [table(rows[:7]), table([]), table(rows[7:14]), table(rows[14:])],
        compression="snappy",
    )
    groups = pyarrow.parquet.ParquetFile(first).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [7, 0, 7, 4]
    # Another compression, pages of version 2, and another order of columns.
    others = [row(20), row(21, **SECOND), row(22)]
    turned = pyarrow.schema(list(SCHEMA)[::-1])
    write(
        "sound/data/train-00001-of-00003-0123456789abcdef.parquet",
        [table(others, turned)],
        turned,
        compression="zstd",
        data_page_version="2.0",
        use_dictionary=False,
    )
    # As the datasets package stores images: bytes and path, nested one level deeper; labels as integers.
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", TEXT)])
    deeper = SCHEMA
    for name, kind in [("jpg_0", picture), ("jpg_1", picture), ("label_0", pyarrow.int64()), ("label_1", pyarrow.int32())]:
        deeper = change(deeper, name, kind)
    wrapped = []
    for r in [row(30), row(31, jpg_1=None), row(32, label_0=0, label_1=1)]:
        r = dict(r, label_0=int(r["label_0"]), label_1=int(r["label_1"]))
        for side in ("jpg_0", "jpg_1"):
            r[side] = None if r[side] is None else {"bytes": r[side], "path": "../../escape.jpg"}
        wrapped.append(r)
    write("sound/data/train-00002-of-00003-0123456789abcdef.parquet", [table(wrapped, deeper)], deeper, compression="none")
    write("sound/data/validation_unique-00000-of-00001-fedcba9876543210.parquet", [table([row(40)])])

    # A column of the wrong type: labels as words.
    words = change(SCHEMA, "label_0", TEXT)
    typed = [dict(row(50 + i), label_0="1.0") for i in range(3)]
    write("wrong_type/train-00000-of-00002.parquet", [table([row(53)])])
    write("wrong_type/train-00001-of-00002.parquet", [table(typed, words)], words)
    # The variant without images.
    urls = pyarrow.schema([f for f in SCHEMA if not f.name.startswith("jpg_")])
    write("urls/train.parquet", [table([row(60)]).select(urls.names)], urls)
    # Another set.
    write("other/train.parquet", [pyarrow.table({"text": ["a"]})], pyarrow.schema([("text", TEXT)]))
    # A few kilobytes that decompress to 320 megabytes.
    bomb = dict(row(70), jpg_0=bytes(320 << 20))
    write("bomb/train.parquet", [table([bomb])], compression="zstd", compression_level=19, use_dictionary=False, write_statistics=False)

    write_compressions()
    write_labels()
    write_splits()

    expected = {
        "train-00000": [{"row": i, "what": what, "caption": r["caption"]} for i, (r, what) in enumerate(ROWS)],
        "train-00001": [
            {"row": i, "what": "second" if i == 1 else "first", "caption": r["caption"]} for i, r in enumerate(others)
        ],
        "train-00002": [
            {"row": i, "what": ["first", "missing_image", "second"][i], "caption": r["caption"]}
            for i, r in enumerate(wrapped)
        ],
    }
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (ROOT / "expected.json").write_text(text + "\n", encoding="utf-8")
    for file in sorted(ROOT.rglob("*.*")):
        print(f"{file.stat().st_size:>8} {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
