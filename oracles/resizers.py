"""Resized and preprocessed images: Pillow's filters in all its modes, torch's bicubic interpolation, and the three preprocessings of
CLIP's scorers (crates/evaluation/tests/fixtures/preprocess/). See README.md.

Needs Pillow 12 or older, the version that the published scorers were run with: it always resizes rows first. Pillow 13 resizes the columns of
some shapes first (never of squares to squares), and clipping in between changes the result by some levels.

Images are stored as files (PNG of every kind, JPEG with and without EXIF orientation); results are stored as bytes, long ones as their SHA-256.
"""

import hashlib
import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy
import PIL
import torch
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from torchvision.transforms import functional as F
from transformers import CLIPImageProcessor

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "evaluation" / "tests" / "fixtures" / "preprocess"
FILTERS = {"box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIDE = 16
ORIENTATION = 0x0112


def picture(seed, width, height, channels):
    """Noise added to waves, so that every filter overshoots."""
    random = numpy.random.Generator(numpy.random.PCG64(seed))
    y, x, c = numpy.mgrid[0:height, 0:width, 0:channels]
    waves = 128 + 140 * numpy.sin(x / (2 + c) + seed) * numpy.cos(y / (3 + c))
    return (waves + random.normal(0, 30, waves.shape)).clip(0, 255).astype(numpy.uint8)


def png(width, height, depth, colour, rows, *chunks):
    """A PNG file of a kind that Pillow reads but does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    extra = b"".join(chunk(*c) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def packed(seed, width, height, depth):
    random = numpy.random.Generator(numpy.random.PCG64(seed))
    return [bytes(random.integers(0, 256, -(-width * depth // 8), dtype=numpy.uint8)) for _ in range(height)]


def files():
    """Images of every kind, most of them with odd sides."""

    def saved(array, **options):
        out = io.BytesIO()
        image = array if isinstance(array, Image.Image) else Image.fromarray(array)
        image.save(out, "png", **options)
        return out.getvalue()

    def jpeg(array, **options):
        out = io.BytesIO()
        Image.fromarray(array).save(out, "jpeg", quality=95, subsampling=0, **options)
        return out.getvalue()

    rgb = Image.fromarray(picture(5, 37, 23, 3))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    yield "square.png", saved(picture(1, 32, 32, 3))
    yield "small.png", saved(picture(2, 9, 7, 3))
    yield "wide.png", saved(picture(3, 45, 20, 3))
    yield "tall.png", saved(picture(4, 19, 50, 3))
    yield "as_it_is.png", saved(picture(6, SIDE, SIDE, 3))
    yield "one_row.png", saved(picture(7, 21, 1, 3))
    yield "grey.png", saved(picture(8, 33, 21, 1)[..., 0])
    yield "grey_alpha.png", saved(picture(9, 27, 18, 2))
    yield "rgba.png", saved(picture(10, 29, 41, 4))
    yield "rgba_as_it_is.png", saved(picture(11, SIDE, SIDE, 4))
    yield "palette.png", saved(rgb.quantize(200))
    yield "palette_4.png", saved(rgb.quantize(11), bits=4)
    yield "palette_clear.png", saved(rgb.quantize(50), transparency=3)
    yield "interlaced_rgb.png", png(3, 2, 8, 2, packed(12, 9, 2, 8))
    for depth in (1, 2, 4, 16):
        yield f"grey_{depth}.png", png(27, 19, depth, 0, packed(20 + depth, 27, 19, depth))
    dark = picture(13, 27, 19, 1).astype(numpy.uint16)
    yield "grey_16_dark.png", png(27, 19, 16, 0, [r.tobytes() for r in dark[..., 0].astype(">u2")])
    for colour, channels in ((2, 3), (4, 2), (6, 4)):
        yield f"deep_{channels}.png", png(23, 19, 16, colour, packed(30 + colour, 23 * channels, 19, 16))
    yield "grey.jpg", jpeg(picture(14, 40, 24, 1)[..., 0] // 4 * 2 + 60)
    smooth = Image.fromarray(picture(15, 6, 4, 3)).resize((48, 32), Image.BICUBIC)
    yield "photo.jpg", jpeg(numpy.array(smooth))
    yield "turned.jpg", jpeg(numpy.array(smooth), exif=turned)


def prepared(image):
    """The results of the preprocessing of each package, by name."""
    openai = Compose([Resize(SIDE, interpolation=InterpolationMode.BICUBIC), CenterCrop(SIDE), lambda i: i.convert("RGB"), ToTensor(), Normalize(MEAN, DEVIATION)])
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    results = {
        "openai": openai(image),
        "transformers": processor(image, input_data_format="channels_last", return_tensors="pt")["pixel_values"][0],
    }
    for antialias in (False, True):
        results["hps_antialias" if antialias else "hps"] = hps(image, antialias)
    return {name: value.float().numpy().copy() for name, value in results.items()}


def hps(image, antialias):
    """HPSv2's open_clip transform.py with light augmentation, without alpha, at which its network fails."""
    x = ToTensor()(image.convert("RGB"))
    height, width = x.shape[1:]
    scale = SIDE / float(max(height, width))
    if scale != 1.0:
        size = tuple(round(n * scale) for n in (height, width))
        if 0 in size:
            return torch.zeros(0)
        x = F.resize(x, size, InterpolationMode.BICUBIC, antialias=antialias)
        rest_y, rest_x = SIDE - size[0], SIDE - size[1]
        x = F.pad(x, padding=[rest_x // 2, rest_y // 2, rest_x - rest_x // 2, rest_y - rest_y // 2], fill=0)
    return Normalize(MEAN, DEVIATION)(x)


def main():
    assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 takes another order: pip install 'pillow<13'"
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    pictures, tensors = {}, {}
    for name, data in files():
        (FOLDER / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        pictures[name] = {"mode": image.mode, "size": image.size, "rgb": hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()}
        for way, values in prepared(Image.open(io.BytesIO(data))).items():
            if values.size:
                tensors[f"{name}.{way}"] = values

    resized = []
    random = numpy.random.Generator(numpy.random.PCG64(99))
    for channels, mode in ((1, "L"), (2, "La"), (3, "RGB"), (4, "CMYK"), (1, "F"), (1, "I;16")):
        for _ in range(4):
            size = tuple(int(n) for n in random.integers(1, 60, 2))
            to = tuple(int(n) for n in random.integers(1, 60, 2))
            seed = int(random.integers(1 << 30))
            values = picture(seed, *size, channels)
            if mode == "F":
                image = Image.fromarray(values[..., 0].astype(numpy.float32) * numpy.float32(1.7) - 40)
            elif mode == "I;16":
                image = Image.fromarray(values[..., 0].astype(numpy.uint16) * 257)
            else:
                image = Image.frombytes(mode, size, values.tobytes())
            entry = {"mode": mode, "channels": channels, "from": size, "to": to, "values": values.tobytes().hex()}
            for name, number in FILTERS.items():
                entry[name] = hashlib.sha256(image.resize(to, number).tobytes()).hexdigest()
            if mode in ("L", "RGB"):
                entry["nearest"] = hashlib.sha256(image.resize(to, Image.NEAREST).tobytes()).hexdigest() if mode == "L" else ""
            resized.append(entry)

    for i, (size, to) in enumerate([((31, 17), (9, 12)), ((8, 5), (20, 33)), ((1, 40), (7, 6)), ((64, 64), (7, 7))]):
        values = picture(200 + i, *size, 1)[..., 0].astype(numpy.float32) / 255
        tensors[f"torch.{i}.values"] = values
        for antialias in (False, True):
            x = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], to[::-1], mode="bicubic", antialias=antialias)
            tensors[f"torch.{i}.{'antialiased' if antialias else 'plain'}"] = x[0, 0].numpy().copy()
    tensors = {k: numpy.ascontiguousarray(v) for k, v in tensors.items()}
    save_file(tensors, FOLDER / "expected.safetensors")
    made_by = {"pillow": PIL.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    text = json.dumps({"made_by": made_by, "side": SIDE, "pictures": pictures, "resized": resized}, indent=0)
    (FOLDER / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
