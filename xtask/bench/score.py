"""The Python side of `cargo xtask bench score` and `bench fid`: open_clip, image-reward and pytorch-fid on the same files and images.

    python score.py make NAME FOLDER      # random weights of full size: vit-l-14, vit-h-14, image-reward or inception
    python score.py run NAME FOLDER --batch N --threads N

A step computes scores or features of images in memory, including their preprocessing. `diff-contrast-benchmark` does the same with the
same weights. Both return the mean, which must agree.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from steps import answer

sys.path.append(str(Path(__file__).resolve().parents[2] / "oracles"))

# Side of the images, as Stable Diffusion 1.5 generates them.
SIDE = 512
# OpenAI's ViT-L/14 gives the CLIP score of most papers; HPSv2 is LAION's ViT-H/14 with other weights.
OPEN_CLIP = {"vit-l-14": "ViT-L-14-quickgelu", "vit-h-14": "ViT-H-14"}


def image(i: int) -> Image.Image:
    """Ramps and a pattern, the same as on our side."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.uint32)
    channels = [((x * (i % 5 + 1)) ^ (y * (c + 1))) + 31 * i for c in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def prompt(i: int) -> str:
    return f"number {i}: a watercolour of a lighthouse on a cliff above a stormy sea, seen from a small boat"


def inception(state: dict):
    """pytorch-fid's network with a given state dict instead of the published one."""
    import pytorch_fid.inception as published

    published.load_state_dict_from_url = lambda *_arguments, **_options: state
    return published.InceptionV3([published.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()


def make(name: str, folder: Path):
    torch.manual_seed(0)
    if name == "image-reward":
        import blip

        state = blip.state_of(*blip.full_size())
    elif name == "inception":
        import torchvision

        network = torchvision.models.inception_v3(
            weights=None, aux_logits=False, num_classes=1008, init_weights=False
        )
        for module in network.modules():
            # Keeps activations from vanishing through the layers: denormal numbers are slow to compute with.
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        state = network.state_dict()
    else:
        import open_clip

        state = open_clip.create_model(OPEN_CLIP[name]).state_dict()
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    torch.save(state, making / "weights.pt")
    if name == "image-reward":
        (making / "vocab.txt").write_text("\n".join(blip.stand_in_vocabulary()) + "\n")
    elif name != "inception":
        vocabulary = "bpe_simple_vocab_16e6.txt.gz"
        shutil.copyfile(Path(open_clip.__file__).parent / vocabulary, making / vocabulary)
    making.rename(folder)


def fid_step(folder: Path, batch: int, device):
    """As pytorch-fid's `get_activations`: converts images to tensors and runs the network, which resizes them itself."""
    from torchvision.transforms.functional import to_tensor

    network = inception(torch.load(folder / "weights.pt")).to(device)
    images = [image(i) for i in range(batch)]

    @torch.inference_mode()
    def step():
        pixels = torch.stack([to_tensor(image) for image in images]).to(device)
        return network(pixels)[0].double().mean().item()

    return step


def score_step(name: str, folder: Path, batch: int, device):
    """The cosine of each image with its prompt, times 100 for HPSv2."""
    import open_clip
    from torchvision.transforms.functional import to_tensor

    model = open_clip.create_model(OPEN_CLIP[name]).eval()
    model.load_state_dict(torch.load(folder / "weights.pt"))
    model = model.to(device)
    tokenize = open_clip.get_tokenizer(OPEN_CLIP[name])
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in [open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD])
    as_openai = open_clip.image_transform(224, is_train=False)

    def as_hps(image):
        # torchvision's resizing of tensors when HPSv2 was published: no antialiasing.
        small = torch.nn.functional.interpolate(to_tensor(image)[None], size=(224, 224), mode="bicubic")[0]
        return (small - mean) / deviation

    prepare, scale = (as_hps, 100.0) if name == "vit-h-14" else (as_openai, 1.0)
    images = [image(i) for i in range(batch)]
    prompts = [prompt(i) for i in range(batch)]

    @torch.inference_mode()
    def step():
        pixels = torch.stack([prepare(image) for image in images]).to(device)
        seen = model.encode_image(pixels, normalize=True)
        told = model.encode_text(tokenize(prompts).to(device), normalize=True)
        return (scale * (seen * told).sum(dim=1)).double().mean().item()

    return step


def image_reward_step(folder: Path, batch: int, device):
    """As image-reward's `score`, for several images at a time, with texts padded to 35 tokens."""
    import blip
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    vision, text, head = blip.full_size()
    state = torch.load(folder / "weights.pt")
    for module, prefix in [(vision, "blip.visual_encoder."), (text, "blip.text_encoder."), (head, "mlp.layers.")]:
        part = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        # Later versions of transformers do not store the position ids.
        part = {name: value for name, value in part.items() if name in module.state_dict()}
        module.load_state_dict(part)
        module.to(device)
    tokenizer = blip.tokenizer(folder / "vocab.txt")
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    resize = Resize(224, interpolation=InterpolationMode.BICUBIC)
    prepare = Compose([resize, CenterCrop(224), ToTensor(), Normalize(mean, deviation)])
    images = [image(i) for i in range(batch)]
    prompts = [prompt(i) for i in range(batch)]

    @torch.inference_mode()
    def step():
        seen = vision(torch.stack([prepare(image) for image in images]).to(device))
        words = tokenizer(prompts, padding="max_length", truncation=True, max_length=35, return_tensors="pt").to(device)
        states = text(
            words.input_ids,
            attention_mask=words.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long, device=device),
            return_dict=True,
        ).last_hidden_state
        rewards = (head(states[:, 0]) - 0.16717362830052426) / 1.0333394966054072
        return rewards.double().mean().item()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "run"])
    parser.add_argument("name", choices=[*OPEN_CLIP, "image-reward", "inception"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # No TF32: f32 has full precision on both sides.
    torch.backends.cudnn.allow_tf32 = False
    device = arguments.device
    if arguments.action == "make":
        make(arguments.name, arguments.folder)
    elif arguments.name == "inception":
        answer(fid_step(arguments.folder, arguments.batch, device), device)
    elif arguments.name == "image-reward":
        answer(image_reward_step(arguments.folder, arguments.batch, device), device)
    else:
        answer(score_step(arguments.name, arguments.folder, arguments.batch, device), device)


main()
