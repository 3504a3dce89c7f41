"""The UNets of Stable Diffusion 1.5, 2.1 and XL at full size: their published configs, and name and shape of every parameter in diffusers.
No weights are created. Writes crates/diffusion/tests/fixtures/published/. See README.md.

A list has one line per parameter, sorted: the number of characters that its name shares with the previous one, the rest of the name, and
the shape.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

FIXTURES = Path(__file__).resolve().parent.parent / "crates" / "diffusion" / "tests" / "fixtures" / "published"

# As in the file of Stable Diffusion 1.5.
OLDEST = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}
PUBLISHED = {
    "sd15": OLDEST,
    "sd21": OLDEST
    | {
        "_diffusers_version": "0.10.0.dev0",
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "dual_cross_attention": False,
        "num_class_embeds": None,
        "only_cross_attention": False,
        "sample_size": 96,
        "upcast_attention": True,
        "use_linear_projection": True,
    },
    "sdxl": OLDEST
    | {
        "_diffusers_version": "0.19.0.dev0",
        "addition_embed_type": "text_time",
        "addition_embed_type_num_heads": 64,
        "addition_time_embed_dim": 256,
        "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280],
        "class_embed_type": None,
        "class_embeddings_concat": False,
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "cross_attention_dim": 2048,
        "cross_attention_norm": None,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "dual_cross_attention": False,
        "encoder_hid_dim": None,
        "encoder_hid_dim_type": None,
        "mid_block_only_cross_attention": None,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "num_attention_heads": None,
        "num_class_embeds": None,
        "only_cross_attention": False,
        "projection_class_embeddings_input_dim": 2816,
        "resnet_out_scale_factor": 1.0,
        "resnet_skip_time_act": False,
        "resnet_time_scale_shift": "default",
        "sample_size": 128,
        "time_cond_proj_dim": None,
        "time_embedding_act_fn": None,
        "time_embedding_dim": None,
        "time_embedding_type": "positional",
        "timestep_post_act": None,
        "transformer_layers_per_block": [1, 2, 10],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "upcast_attention": None,
        "use_linear_projection": True,
    },
}


def main():
    if FIXTURES.exists():
        shutil.rmtree(FIXTURES)
    for name, config in PUBLISHED.items():
        folder = FIXTURES / name
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(config)
        unet.save_config(folder)  # As current diffusers writes it.
        (folder / "config.json").rename(folder / "config_today.json")
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        lines, before = [], ""
        for parameter, value in sorted(unet.state_dict().items()):
            shared = len(os.path.commonprefix([before, parameter]))
            lines.append(f"{shared} {parameter[shared:]} {','.join(map(str, value.shape))}\n")
            before = parameter
        (folder / "parameters.txt").write_text("".join(lines))
        total = sum(p.numel() for p in unet.parameters())
        print(f"{name}: {len(lines)} parameters, {total} values")


if __name__ == "__main__":
    main()
