"""Weights in their published forms: diffusers' shards, half precision and pickles, and single-file checkpoints with the names of the first
implementation, with diffusers' conversion of them. Needs the fixtures of diffusion.py. Writes crates/diffusion/tests/fixtures/sources/.
See README.md.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file, save

import key_lists

FIXTURES = Path(__file__).resolve().parent.parent / "crates" / "diffusion" / "tests" / "fixtures"
SOURCES = FIXTURES / "sources"
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def index():
    """The shard of each tensor; the test splits the weights accordingly."""
    unet = UNet2DConditionModel.from_pretrained(FIXTURES / "unet_lists", torch_dtype=torch.float16)
    with tempfile.TemporaryDirectory() as scratch:
        unet.save_pretrained(scratch, max_shard_size="40KB", variant="fp16")
        (index,) = Path(scratch).glob("*.index*.json")
        shards = set(json.loads(index.read_text())["weight_map"].values())
        assert len(shards) > 1 and all((Path(scratch) / shard).is_file() for shard in shards)
        shutil.copy(index, SOURCES)


def old_autoencoder():
    """A pickle with the old names of attention, which diffusers still reads."""
    weights = load_file(FIXTURES / "model" / "vae" / "diffusion_pytorch_model.safetensors")
    old = {}
    for key, value in weights.items():
        for new, name in OLD_ATTENTION.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        old[key] = value
    assert len(set(old) - set(weights)) == 16
    folder = SOURCES / "vae_old"
    folder.mkdir()
    shutil.copy(FIXTURES / "model" / "vae" / "config.json", folder)
    torch.save(old, folder / "diffusion_pytorch_model.bin")
    read = AutoencoderKL.from_pretrained(folder, use_safetensors=False).state_dict()
    assert all(torch.equal(read[name].half(), value) for name, value in weights.items())


FULL = {
    "sd1": {"unet": key_lists.UNET_1, "vae": key_lists.VAE, "clip": (768, 12), "open_clip": None},
    "sd2": {
        "unet": {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        "vae": key_lists.VAE,
        "clip": None,
        "open_clip": (1024, 24, 1024),
    },
    "sdxl": {"unet": key_lists.UNET_XL, "vae": key_lists.VAE, "clip": (768, 12), "open_clip": (1280, 32, 1280)},
}
SMALL_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (32, 64),
    "layers_per_block": 2,
    "latent_channels": 4,
}
SMALL_UNET = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
}
SMALL = {
    "sd1": {"unet": {**SMALL_UNET, "cross_attention_dim": 64, "attention_head_dim": 8}, "vae": SMALL_VAE, "clip": (64, 2), "open_clip": None},
    "sd2": {
        "unet": {**SMALL_UNET, "cross_attention_dim": 64, "attention_head_dim": (1, 1), "use_linear_projection": True},
        "vae": SMALL_VAE,
        "clip": None,
        "open_clip": (64, 24, 64),  # diffusers removes block 23 by name.
    },
    "sdxl": {
        "unet": {
            **SMALL_UNET,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2),
            "attention_head_dim": (1, 1),
            "cross_attention_dim": 128,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
        },
        "vae": SMALL_VAE,
        "clip": (64, 2),
        "open_clip": (64, 3, 32),
    },
}
TOKENS = 49408


def open_clip_text(width, layers, projection):
    """A text tower of OpenCLIP: names and shapes of ViT-H/14 and ViT-bigG/14 (key_lists.py takes them from it)."""
    keys = {"positional_embedding": (77, width), "text_projection": (width, projection), "logit_scale": (), "token_embedding.weight": (TOKENS, width)}
    for i in range(layers):
        block = {
            "ln_1.weight": (width,), "ln_1.bias": (width,), "attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,), "mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,),
        }
        keys |= {f"transformer.resblocks.{i}.{k}": v for k, v in block.items()}
    return keys | {"ln_final.weight": (width,), "ln_final.bias": (width,)}


def original(model):
    """Names and shapes of a whole single-file checkpoint."""
    beneath = key_lists.beneath
    keys = beneath("model.diffusion_model", key_lists.original_unet(model["unet"]))
    keys["model.diffusion_model.input_blocks.0.0.weight"] = (model["unet"].get("block_out_channels", (320,))[0], 4, 3, 3)
    keys |= beneath("first_stage_model", key_lists.original_vae(model["vae"]))
    both = model["clip"] and model["open_clip"]
    if model["clip"]:
        width, layers = model["clip"]
        text, _ = key_lists.text_tower(width, width // 64, layers)
        keys |= beneath("conditioner.embedders.0.transformer" if both else "cond_stage_model.transformer", text)
    if model["open_clip"]:
        keys |= beneath("conditioner.embedders.1.model" if both else "cond_stage_model.model", open_clip_text(*model["open_clip"]))
    return keys


def converted(model, tensors):
    """diffusers' conversion of a checkpoint, part by part."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**model["unet"]), AutoencoderKL(**model["vae"])
    parts = {
        "unet": convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)),
        "vae": convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)),
    }
    for name, network in (("unet", unet), ("vae", vae)):
        assert {k: v.shape for k, v in parts[name].items()} == {k: v.shape for k, v in network.state_dict().items()}
    if model["clip"]:
        parts["text_encoder"] = convert_ldm_clip_checkpoint(dict(tensors))
        parts["text_encoder"].pop("text_model.embeddings.position_ids")
    if model["open_clip"]:
        prefix, name = ("conditioner.embedders.1.model.", "text_encoder_2") if model["clip"] else ("cond_stage_model.model.", "text_encoder")
        parts[name] = convert_open_clip_checkpoint(None, dict(tensors), prefix)
    return parts


ROWS = 2**20


def origin(value, names, shapes):
    """The source tensor of a converted tensor and the part that was taken: every element encodes its tensor and row."""
    first = int(value[(0,) * value.dim()])
    old, row = names[first // ROWS], first % ROWS
    shape = shapes[old]
    if value.dim() == 2 and len(shape) == 2 and int(value[0, 1]) != first:
        view = "transposed"
    elif tuple(value.shape) == shape:
        view = "whole"
    elif value.dim() == 2 and shape == (*value.shape, 1, 1):
        view = "matrix"
    else:
        assert shape == (3 * value.shape[0], *value.shape[1:])
        view = f"third {row // value.shape[0]}"
    assert row == 0 or view.startswith("third")
    return old, view


def lists():
    """Every name of the published models at full size and its conversion. The weights take no memory.

    Lines with tabs: shape and name of the tensor in the file, the part, its name there, and the part of it that is taken. A number at
    the beginning of a name is the number of characters that it shares with the previous one.
    """
    for name, model in FULL.items():
        shapes = original(model)
        names = sorted(shapes)
        tensors = {}
        for i, key in enumerate(names):
            shape = shapes[key]
            rows = torch.arange(shape[0] if shape else 1, dtype=torch.float64) + i * ROWS
            tensors[key] = rows.view(-1, *(1,) * (len(shape) - 1)).expand(shape) if shape else rows[0]
        lines = []
        for part, made in converted(model, tensors).items():
            lines += [(*origin(value, names, shapes), part, new) for new, value in made.items()]
        taken = {line[0] for line in lines}
        lines += [(key, "left out", "", "") for key in names if key not in taken]
        text, before = [], ("", "")
        for old, view, part, new in sorted(lines):
            shared = [len(os.path.commonprefix(pair)) for pair in zip(before, (old, new))]
            shape = ",".join(map(str, shapes[old]))
            text.append("\t".join([shape, f"{shared[0]} {old[shared[0]:]}", part, f"{shared[1]} {new[shared[1]:]}", view]))
            before = (old, new)
        (SOURCES / f"{name}.txt").write_text("\n".join(text) + "\n")
        print(f"{name}: {len(names)} tensors become {len(lines)}")


def checkpoints():
    """Small checkpoints as training frameworks write them, and the SHA-256 of diffusers' conversion, saved as safetensors. Tensors are views
    of a few numbers, so that the files are small.
    """
    numbers = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    expected = {}
    for name, model in SMALL.items():
        dtype = torch.float32 if name == "sd1" else torch.float16
        storage = numbers.to(dtype)

        def tensor(i, shape):
            if not shape:
                return storage[i]
            rows = min(shape[0], 512)
            start = (37 * i) % (len(storage) - rows)
            if shape[0] > rows:  # All rows of the token embedding are equal.
                return storage[start : start + shape[1]].expand(shape)
            return storage[start : start + rows].view(-1, *(1,) * (len(shape) - 1)).expand(shape)

        keys = {k: (s if s[:1] != (TOKENS,) else (600, *s[1:])) for k, s in original(model).items()}
        tensors = {key: tensor(i, shape) for i, (key, shape) in enumerate(keys.items())}
        extra = {"betas": storage[:1000].float(), "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}
        if name == "sd1":
            for i, key in enumerate(list(tensors)):
                if key.startswith("model.diffusion_model."):
                    extra["model_ema." + "".join(key.split(".")[1:])] = tensor(i + 5000, tuple(tensors[key].shape))
        for key in tensors:
            if key.endswith("position_ids"):
                tensors[key] = torch.arange(77)[None]
        odd = {"global_step": 470000, "callbacks": {"ModelCheckpoint": {"best": None}}, "optimizer_states": []}
        torch.save({**odd, "state_dict": {**tensors, **extra}}, SOURCES / f"{name}.ckpt")
        parts = converted(model, tensors)
        if name == "sd1":
            with_average = convert_ldm_unet_checkpoint({**tensors, **extra}, dict(UNet2DConditionModel(**model["unet"]).config), extract_ema=True)
            parts["unet of averages"] = with_average
        expected[name] = {
            part: hashlib.sha256(save({k: v.contiguous().clone() for k, v in made.items()}, {"format": "pt"})).hexdigest()
            for part, made in parts.items()
        }
        for key, value in model["unet"].items():
            expected[name].setdefault("config", {})[key] = value
    (SOURCES / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def main():
    if SOURCES.exists():
        shutil.rmtree(SOURCES)
    SOURCES.mkdir()
    index()
    old_autoencoder()
    lists()
    checkpoints()
    size = sum(f.stat().st_size for f in SOURCES.rglob("*") if f.is_file())
    print(f"{size} bytes under {SOURCES.name}/")


if __name__ == "__main__":
    main()
