"""Fixtures of LoRA: results of diffusers with PEFT for adapters on small random UNets, and adapter files in the naming of each writer.

    lora.py                    writes crates/diffusion/tests/fixtures/lora_*/
    lora.py check FOLDER FILE  loads FILE into the UNet of FOLDER by diffusers and compares output and fused weights with
                               FOLDER's `expected.safetensors`; FILE may be one that our program wrote

The base networks are those of `diffusion.py`. Needs `peft` in addition to requirements.txt.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffusion import FIXTURES, normal, save

torch.set_num_threads(1)

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
EVERYWHERE = ATTENTION + [
    "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2",
    "conv1", "conv2", "conv_shortcut", "conv_in", "conv_out", "downsamplers.0.conv", "upsamplers.0.conv",
]  # fmt: skip


def base(name):
    """The UNet of `diffusion.py`'s fixture, in f64."""
    return UNet2DConditionModel.from_pretrained(FIXTURES / name, torch_dtype=torch.float64).eval()


def draw(network, seed):
    """Gives the factors values that affect the result, including the one that is initialised to zero."""
    parameters = [(n, p) for n, p in sorted(network.named_parameters()) if "lora_" in n]
    with torch.no_grad():
        for i, (_, p) in enumerate(parameters):
            p.copy_((0.5 * normal(1000 * seed + i, *p.shape)).half().double())
    return parameters


def inputs(name):
    """The inputs of `diffusion.py`'s fixture."""
    with safe_open(FIXTURES / name / "expected.safetensors", "pt") as file:
        return {k: file.get_tensor(k).double() for k in ("latents", "timesteps", "text", "target")}


def plain(name):
    """The name of a factor without PEFT's adapter name and wrappers."""
    return name.replace(".default", "")


def adapter(folder, name, seed, gradients=True, **config):
    """Output, loss and gradients of the factors of a UNet with adapters; its fused weights; its file as PEFT writes it."""
    network = base(name)
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(init_lora_weights="gaussian", lora_dropout=0.0, **config))
    parameters = draw(network, seed)
    given = inputs(name)
    output = network(given["latents"], given["timesteps"], given["text"]).sample
    loss = torch.nn.functional.mse_loss(output, given["target"])
    loss.backward()
    assert all((p.grad is None) == ("lora_" not in n) for n, p in network.named_parameters())
    expected = {"output": output, "loss": loss}
    expected |= {f"gradient.{plain(n)}": p.grad for n, p in parameters}
    state = get_peft_model_state_dict(network)
    layers = sorted({k.split(".lora_")[0] for k in state})
    network.fuse_lora(0.75)
    fused = network.state_dict()
    expected |= {f"fused.{n}": fused[f"{n}.base_layer.weight"] for n in layers}
    if not gradients:
        expected = {"output": output, "loss": loss}
    save(folder, "expected.safetensors", expected)
    network.unfuse_lora()
    return network, {k: v.half() for k, v in state.items()}


def sgm(layer):
    """The original name of a layer of a UNet with two blocks of one layer, written by hand."""
    rules = {
        "down_blocks.0.attentions.0": "input_blocks.1.1",
        "down_blocks.1.attentions.0": "input_blocks.3.1",
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.1.resnets.0": "input_blocks.3.0",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.attentions.0": "output_blocks.0.1",
        "up_blocks.0.attentions.1": "output_blocks.1.1",
        "up_blocks.1.attentions.0": "output_blocks.2.1",
        "up_blocks.1.attentions.1": "output_blocks.3.1",
        "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.resnets.1": "output_blocks.1.0",
        "up_blocks.1.resnets.0": "output_blocks.2.0",
        "up_blocks.1.resnets.1": "output_blocks.3.0",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
    }
    parts = {"time_emb_proj": "emb_layers.1", "conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    for ours, theirs in rules.items():
        if layer == ours or layer.startswith(ours + "."):
            rest = layer[len(ours) :]
            return theirs + ("." + parts[rest[1:]] if rest[1:] in parts else rest)
    raise ValueError(layer)


def kohya(state, alpha, rename=lambda layer: layer):
    """kohya's names, with an alpha for every layer."""
    found = {}
    for name, value in state.items():
        layer, factor = name.split(".lora_")
        flat = "lora_unet_" + rename(layer).replace(".", "_")
        found[f"{flat}.lora_{'down' if factor[0] == 'A' else 'up'}.weight"] = value
        found[f"{flat}.alpha"] = torch.tensor(alpha).half()
    return found


def as_pipeline_wrote(folder, state):
    """What diffusers' training scripts write: older names after the prefix of the network."""
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=convert_state_dict_to_diffusers(state))


def fixtures():
    folder = FIXTURES / "lora_attention"
    network, state = adapter(folder, "model/unet", 50, r=3, lora_alpha=3, target_modules=ATTENTION)
    as_pipeline_wrote(folder, state)
    (folder / "pytorch_lora_weights.safetensors").rename(folder / "diffusers.safetensors")
    # Names of the attention processors, before PEFT.
    processors = {}
    for name, value in convert_state_dict_to_diffusers(state).items():
        name = name.replace("to_out.0", "to_out")
        for part in ("to_q", "to_k", "to_v", "to_out"):
            name = name.replace(f".{part}.lora.", f".processor.{part}_lora.")
        processors[f"unet.{name}"] = value
    save_file(processors, folder / "processors.safetensors", metadata={"format": "pt"})

    folder = FIXTURES / "lora_everywhere"
    patterns = {"rank_pattern": {"conv1": 2}, "alpha_pattern": {"to_v": 5, "conv1": 1}}
    network, state = adapter(folder, "unet_lists", 60, r=3, lora_alpha=2, target_modules=EVERYWHERE, **patterns)
    network.half().save_lora_adapter(folder)
    (folder / "pytorch_lora_weights.safetensors").rename(folder / "peft.safetensors")

    folder = FIXTURES / "lora_kohya"
    network, state = adapter(folder, "unet_lists", 70, gradients=False, r=2, lora_alpha=1, target_modules=EVERYWHERE)
    save_file(kohya(state, 1.0), folder / "kohya.safetensors", metadata={"format": "pt", "ss_network_dim": "2"})
    save_file(kohya(state, 1.0, sgm), folder / "original.safetensors", metadata={"format": "pt"})
    for folder, file in [
        ("lora_attention", "diffusers"),
        ("lora_attention", "processors"),
        ("lora_everywhere", "peft"),
        ("lora_kohya", "kohya"),
        ("lora_kohya", "original"),
    ]:
        check(FIXTURES / folder, FIXTURES / folder / f"{file}.safetensors")


BASES = {"lora_attention": "model/unet", "lora_everywhere": "unet_lists", "lora_kohya": "unet_lists"}


def check(folder, file):
    """Checks that diffusers reads the file with the expected output and fused weights."""
    name = BASES[folder.name]
    network = base(name)
    pipeline = StableDiffusionPipeline
    state, alphas, metadata = pipeline.lora_state_dict(
        file.parent, weight_name=file.name, unet_config=network.config, return_lora_metadata=True, local_files_only=True
    )
    if any(k.startswith("unet.") for k in state):
        pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=network, metadata=metadata)
    else:
        network.load_lora_adapter(state, prefix=None, metadata=metadata)
    network.double()
    given = inputs(name)
    expected = {k: v.double() for k, v in load_file(folder / "expected.safetensors").items()}
    with torch.no_grad():
        output = network(given["latents"], given["timesteps"], given["text"]).sample
    off = {"output": ((output - expected["output"]).norm() / expected["output"].norm()).item()}
    network.fuse_lora(0.75)
    fused = network.state_dict()
    for key, value in expected.items():
        if key.startswith("fused."):
            ours = fused[f"{key.removeprefix('fused.')}.base_layer.weight"]
            off[key] = ((ours - value).norm() / value.norm()).item()
    worst = max(off, key=off.get)
    print(f"{file.name}: {len(off)} results, the worst off by {off[worst]:.1e}: {worst}")
    if off[worst] > 1e-5:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        fixtures()
