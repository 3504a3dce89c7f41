"""A Stable Diffusion 1.5 of full size with random weights, in diffusers layout: what memory and time are measured on
where the published weights are not at hand. No fixture: 2 GB in f16.

    python oracles/full_size.py FOLDER [PIXELS]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "diffusion" / "tests" / "fixtures" / "published" / "sd15"
BUNDLED = ROOT / "models" / "shapes"


def main():
    folder, pixels = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 512
    torch.manual_seed(0)
    config = json.loads((PUBLISHED / "config.json").read_text())
    config["sample_size"] = pixels // 8
    parts = {
        "unet": lambda: UNet2DConditionModel.from_config(config),
        "vae": lambda: AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        "text_encoder": lambda: CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12, projection_dim=768
            )
        ),
    }
    for name, make in parts.items():
        make().half().save_pretrained(folder / name)
        print(name, flush=True)
    # The bundled vocabulary, its texts padded to the length of the published encoder; CLIP for the weights of Diff-contrast.
    shutil.copytree(BUNDLED / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    shutil.copytree(BUNDLED / "clip", folder / "clip", dirs_exist_ok=True)
    file = folder / "tokenizer" / "tokenizer_config.json"
    tokenizer = json.loads(file.read_text()) | {"model_max_length": 77}
    file.write_text(json.dumps(tokenizer))
    schedule = {
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
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


main()
