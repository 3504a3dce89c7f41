"""Checks an exported model with diffusers: loads it, generates the image of its card from the same noise, and prints the difference.

    diff-contrast-trainer export shapes --out FOLDER --sample "a large red circle on a blue background"
    python oracles/export.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

# Accepted mean and maximum difference of pixels, in levels of 255: rounding of f32 over all steps.
MEAN, WORST = 0.5, 8


def main():
    torch.set_num_threads(2)
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "sample.json").read_text())
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    print(f"{type(pipeline).__name__} with {type(pipeline.scheduler).__name__}")
    wanted = asked.pop("sampler")
    names = {"ddim": "DDIMScheduler", "pndm": "PNDMScheduler", "euler": "EulerDiscreteScheduler"}
    assert names[wanted] == type(pipeline.scheduler).__name__, f"the sample was drawn with {wanted}"
    theirs = pipeline(**asked, latents=load_file(folder / "sample.safetensors")["noise"], output_type="np").images[0]
    theirs = (theirs * 255).round()
    ours = numpy.asarray(Image.open(folder / "sample.png"), dtype=numpy.float64)
    apart = numpy.abs(ours - theirs)
    print(f"{ours.shape[1]} x {ours.shape[0]} pixels: apart by {apart.mean():.4f} levels of 255 on average, {apart.max():.0f} at most; spread {theirs.std():.1f}")
    assert theirs.std() > 1, "the image is flat"
    assert apart.mean() <= MEAN and apart.max() <= WORST


if __name__ == "__main__":
    main()
