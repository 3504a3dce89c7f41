"""Inception's features, Frechet and kernel distances by pytorch-fid, clean-fid and torch-fidelity: crates/evaluation/tests/fixtures/fid/.

    python oracles/fid.py                              # writes the fixtures
    python oracles/fid.py published                    # writes only the files of torch and Pillow among them
    python oracles/fid.py weights FILE [--legacy]      # writes made-up weights of full size in the published format (95 MB)
    python oracles/fid.py check                        # reads the statistics that our program wrote with numpy

Nothing is downloaded. The published weights cannot be committed, so both sides compute the same weights of full size, images and features
from a formula (`draw`; in Rust `crates/evaluation/tests/fid/formula.rs`), and the fixtures contain results only.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

FIXTURES = Path(__file__).parent.parent / "crates" / "evaluation" / "tests" / "fixtures" / "fid"
# Width and height: enlarged, unchanged, and shrunk by different factors.
SIZES = [(64, 48), (299, 299), (350, 310)]

torch.set_num_threads(2)


def draw(name: str, count: int) -> np.ndarray:
    """`count` numbers in [0, 1): the upper 24 bits of SplitMix64 (Steele and others 2014), seeded by the FNV-1a hash of the name."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def picture(name: str, width: int, height: int) -> np.ndarray:
    return np.floor(draw(name, width * height * 3) * 256).astype(np.uint8).reshape(height, width, 3)


def shapes() -> dict[str, torch.Tensor]:
    """The published names with tensors of their shapes."""
    import torchvision

    return torchvision.models.inception_v3(
        weights=None, aux_logits=False, num_classes=1008, init_weights=False
    ).state_dict()


def weights() -> dict[str, torch.Tensor]:
    """Weights of full size with the published names, scaled so that activations do not vanish."""
    state = {}
    for name, tensor in shapes().items():
        u = draw(name, tensor.numel())
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
            continue
        if name.endswith((".running_var", ".bn.weight")):
            values = 0.5 + u
        elif name.endswith(".bn.bias"):
            values = 0.4 * u - 0.1
        elif name.endswith(".running_mean"):
            values = 0.2 * u - 0.1
        else:
            fan_in = tensor[0].numel() if tensor.dim() > 1 else 1008
            values = (2 * u - 1) * np.sqrt(6 / fan_in)
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
    return state


def overlapping_weights() -> dict[str, torch.Tensor]:
    """Weights of full size in files of few bytes: every tensor is a view of one short storage, so values overlap."""
    base = torch.from_numpy((2 * draw("overlapping", 12288) - 1).astype(np.float32))
    positive = torch.from_numpy((0.5 + draw("overlapping positive", 4096)).astype(np.float32))
    state = {}
    for place, (name, tensor) in enumerate(shapes().items()):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif tensor.dim() > 1:
            # Strides that are coprime to the storage, so that rows do not repeat.
            strides = [3, 5, 1, 2] if tensor.dim() == 4 else [3, 1]
            fan_in = tensor[0].numel()
            if tensor.dim() == 4:
                name_of_gain = name.replace("conv.weight", "bn.weight")
                gain = torch.tensor(float(np.sqrt(6 / fan_in)), dtype=torch.float32)
                state[name_of_gain] = gain.expand(tensor.shape[0])
            state[name] = base.as_strided(tensor.shape, strides, place)
        elif name not in state:
            source = positive if name.endswith("running_var") else base
            state[name] = source.as_strided(tensor.shape, [1], place)
    return {name: state[name] for name in shapes()}


def published():
    """Inception's file in torch's present format and in that of its publication, and one image in every format that pytorch-fid lists."""
    from PIL import Image

    state = overlapping_weights()
    for file, zipped in [("inception-zip.pth", True), ("inception-legacy.pth", False)]:
        torch.save(state, FIXTURES / file, _use_new_zipfile_serialization=zipped)
    pixels = picture("formats", 12, 9)
    colour = Image.fromarray(pixels)
    folder = FIXTURES / "formats"
    folder.mkdir(exist_ok=True)
    for ending in ["bmp", "png", "ppm", "tif", "tiff", "webp"]:
        options = {"webp": {"lossless": True}, "tiff": {"compression": "tiff_lzw"}}.get(ending, {})
        colour.save(folder / f"colour.{ending}", **options)
    Image.fromarray(pixels[:, :, 0]).save(folder / "grey.pgm")
    return network_of(state)(picture("published", 80, 60))


def features(name: str, count: int, width: int) -> np.ndarray:
    """Rows whose columns are correlated, as those of a network."""
    u = draw(name, count * width).reshape(count, width).astype(np.float32)
    spread = (np.arange(width) % 7 + 1).astype(np.float32)
    return u * spread + np.float32(0.5) * np.roll(u, -1, axis=1)


def frechet(a: np.ndarray, b: np.ndarray) -> list[float]:
    from cleanfid.fid import frechet_distance
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    wide = [side.astype(np.float64) for side in (a, b)]
    statistics = [part for side in wide for part in (side.mean(axis=0), np.cov(side, rowvar=False))]
    clean = [part for side in (a, b) for part in (np.mean(side, axis=0), np.cov(side, rowvar=False))]
    fidelity = [fid_features_to_statistics(torch.from_numpy(side)) for side in (a, b)]
    return [
        float(calculate_frechet_distance(*statistics)),
        float(frechet_distance(*clean)),
        fid_statistics_to_metric(*fidelity, verbose=False)["frechet_inception_distance"],
    ]


def network_of(state):
    """pytorch-fid's network with a state dict: a function of uint8 images (height, width, 3)."""
    import pytorch_fid.inception

    pytorch_fid.inception.load_state_dict_from_url = lambda *_args, **_kwargs: state
    network = pytorch_fid.inception.InceptionV3([pytorch_fid.inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()

    @torch.no_grad()
    def features(pixels):
        return network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float().div(255))[0][0, :, 0, 0].numpy()

    return features


def networks():
    """The network of each package with the made-up weights: functions of uint8 images (height, width, 3)."""
    import pytorch_fid.inception
    from cleanfid.resize import build_resizer
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = weights()
    pytorch_fid.inception.load_state_dict_from_url = lambda *_args, **_kwargs: state
    block = pytorch_fid.inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]
    # What clean-fid's own network (NVIDIA's file of the same weights) does after resizing.
    bare = pytorch_fid.inception.InceptionV3([block], resize_input=False, normalize_input=False).eval()
    path = Path("/tmp") / "inception-of-the-oracle.pth"
    torch.save(state, path)
    fidelity = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    path.unlink()
    resize = build_resizer("clean")

    def tensor(pixels):
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]

    @torch.no_grad()
    def clean(pixels):
        return bare((tensor(resize(pixels)) - 128) / 128)[0][0, :, 0, 0].numpy()

    @torch.no_grad()
    def fid(pixels):
        return fidelity(tensor(pixels))[0][0].numpy()

    return {"pytorch-fid": network_of(state), "clean-fid": clean, "torch-fidelity": fid}


def write():
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    FIXTURES.mkdir(parents=True, exist_ok=True)
    expected = {}
    for mode, network in networks().items():
        rows = [network(picture(f"picture {w}x{h}", w, h)) for w, h in SIZES]
        expected[f"features.{mode}"] = np.stack(rows).astype(np.float32)
    expected["features.published"] = published().astype(np.float32)
    for name, width, counts in [("full", 64, (300, 200)), ("singular", 64, (20, 30)), ("wide", 512, (40, 900))]:
        a, b = (features(f"{name} {side}", n, width) for side, n in zip("ab", counts))
        expected[f"frechet.{name}"] = np.array(frechet(a, b))
    a, b = (features(f"kernel {side}", 50, 64).astype(np.float64) for side in "ab")
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    expected["kernel"] = np.array(
        mmd2(kernel_poly(a, a, **options), kernel_poly(a, b, **options), kernel_poly(b, b, **options))
    )
    expected["cmmd"] = np.array(cmmd(a, b[:30]))
    save_file({name: np.atleast_1d(value) for name, value in expected.items()}, FIXTURES / "expected.safetensors")

    small = features("statistics", 30, 8).astype(np.float64)
    mu, sigma = small.mean(axis=0), np.cov(small, rowvar=False)
    np.savez_compressed(FIXTURES / "pytorch-fid.npz", mu=mu, sigma=sigma)
    np.savez(FIXTURES / "odd.npz", mu=mu.astype(">f4"), sigma=np.asfortranarray(sigma))


def cmmd(x, y):
    """The published definition (Jayasumana and others 2024), written out: there is no package."""
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))

    def kernel(p, q):
        squared = ((p[:, None, :] - q[None, :, :]) ** 2).sum(axis=-1)
        return np.exp(-squared / (2 * 10.0**2)).mean()

    return 1000 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))


def check():
    small = features("statistics", 30, 8).astype(np.float64)
    with np.load(FIXTURES / "ours.npz") as ours:
        np.testing.assert_allclose(ours["mu"], small.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(ours["sigma"], np.cov(small, rowvar=False), rtol=1e-12, atol=1e-12)
        assert sorted(ours.files) == ["mu", "sigma"] and ours["mu"].dtype == np.float64
    print("numpy reads ours.npz, and the numbers are right")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            write()
        case ["published"]:
            rows = published()
            print(rows.min(), rows.mean(), rows.max(), rows.std())
            file = FIXTURES / "expected.safetensors"
            save_file(load_file(file) | {"features.published": rows.astype(np.float32)}, file)
        case ["weights", file, *rest]:
            torch.save(weights(), file, _use_new_zipfile_serialization="--legacy" not in rest)
        case ["check"]:
            check()
        case _:
            sys.exit(__doc__)
