"""Writes a Stable Diffusion of full size with random weights in diffusers layout, to measure memory and time without the published
weights. Not a fixture: 2 GB in f16, 7 GB for SDXL.

    python oracles/full_size.py FOLDER [--kind sd15|sdxl|clip] [--pixels N]

`clip` is OpenAI's ViT-L/14 in transformers' layout, without a pipeline.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates" / "diffusion" / "tests" / "fixtures"
BUNDLED = ROOT / "models" / "shapes"

SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def drawn(make):
    """A network in f16 that is never allocated in f32."""
    with torch.device("meta"):
        network = make()
    network = network.half().to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 1 / math.sqrt(parameter[0].numel()))
            else:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return network


def unet(kind, pixels):
    config = json.loads((FIXTURES / "published" / kind / "config.json").read_text())
    config["sample_size"] = pixels // 8
    return UNet2DConditionModel.from_config(config)


def autoencoder(pixels, scaling_factor):
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=pixels,
        scaling_factor=scaling_factor,
    )


def vit_l():
    config = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    return CLIPTextModel(CLIPTextConfig(**config, projection_dim=768))


def clip():
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768))


def vit_big_g():
    config = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}
    return CLIPTextModelWithProjection(CLIPTextConfig(**config, projection_dim=1280, hidden_act="gelu"))


def tokenizer(folder, **settings):
    """The bundled vocabulary, with texts padded to the length of the published encoders."""
    shutil.copytree(BUNDLED / "tokenizer", folder, dirs_exist_ok=True)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 77} | settings))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["sd15", "sdxl", "clip"], default="sd15")
    parser.add_argument("--pixels", type=int)
    arguments = parser.parse_args()
    folder, is_sdxl = arguments.folder, arguments.kind == "sdxl"
    if arguments.kind == "clip":
        drawn(clip).save_pretrained(folder)
        tokenizer(folder)
        return
    pixels = arguments.pixels or (1024 if is_sdxl else 512)
    torch.manual_seed(0)
    parts = {
        "unet": lambda: unet(arguments.kind, pixels),
        "vae": lambda: autoencoder(pixels, 0.13025 if is_sdxl else 0.18215),
        "text_encoder": vit_l,
    }
    if is_sdxl:
        parts["text_encoder_2"] = vit_big_g
    for name, make in parts.items():
        drawn(make).save_pretrained(folder / name)
        print(name, flush=True)
    tokenizer(folder / "tokenizer")
    if is_sdxl:
        tokenizer(folder / "tokenizer_2", pad_token="!")
    # CLIP for the weights of Diff-contrast.
    shutil.copytree(BUNDLED / "clip", folder / "clip", dirs_exist_ok=True)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULE))
    pipeline = "StableDiffusionXLPipeline" if is_sdxl else "StableDiffusionPipeline"
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))


main()
