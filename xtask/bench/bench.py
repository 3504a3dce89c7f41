"""The PyTorch and diffusers side of `cargo xtask bench`.

Prints `ready`, then answers every line `step` on standard input with `<seconds> <peak bytes of memory>` until the input ends.
`diff-contrast-benchmark` speaks the same protocol and does the same work on the same weights and shapes. The two take turns, so that
other load on the machine affects both.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from steps import answer

GUIDANCE_SCALE = 5.0
PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def unet_of(model: Path, random_weights: bool):
    folder = model / "unet"
    if random_weights:
        return UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    return UNet2DConditionModel.from_pretrained(folder)


def train_step(model: Path, batch: int, side: int | None, random_weights: bool, device, dtype):
    """One update: per-sample timesteps, mean squared error, backward pass, clipping to norm 1, AdamW.

    In 16 bits, under autocast as in diffusers' training scripts: the weights stay in f32."""
    unet = unet_of(model, random_weights).train().to(device)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, weight_decay=1e-2)
    latents, text_states = inputs(model, unet, batch, side, device)
    target = torch.randn(latents.shape, device=device)
    timesteps = torch.randint(0, 1000, (batch,), device=device)

    def step():
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            prediction = unet(latents, timesteps, encoder_hidden_states=text_states).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


def generate_step(model: Path, batch: int, side: int | None, random_weights: bool, sampler_steps: int, device, dtype):
    """One batch of images: DDIM with guidance, each UNet call on the conditional and unconditional half, then the decoder."""
    unet = unet_of(model, random_weights).eval().to(device, dtype)
    if random_weights:
        autoencoder = AutoencoderKL.from_config(AutoencoderKL.load_config(model / "vae")).eval()
    else:
        autoencoder = AutoencoderKL.from_pretrained(model / "vae").eval()
    autoencoder = autoencoder.to(device, dtype)
    sampler = DDIMScheduler.from_pretrained(model / "scheduler")
    noise, text_states = (t.to(dtype) for t in inputs(model, unet, batch, side, device))
    both_states = torch.cat([torch.zeros_like(text_states), text_states])

    @torch.no_grad()
    def step():
        sampler.set_timesteps(sampler_steps)
        latents = noise
        for timestep in sampler.timesteps:
            both = unet(torch.cat([latents, latents]), timestep, encoder_hidden_states=both_states).sample
            unprompted, prompted = both.chunk(2)
            prediction = unprompted + GUIDANCE_SCALE * (prompted - unprompted)
            latents = sampler.step(prediction, timestep, latents).prev_sample
        autoencoder.decode(latents / autoencoder.config.scaling_factor).sample.sum().item()

    return step


def inputs(model: Path, unet: UNet2DConditionModel, batch: int, side: int | None, device):
    """Latents and text states with the shapes of the model's configs."""
    tokens = json.loads((model / "text_encoder" / "config.json").read_text())["max_position_embeddings"]
    config = unet.config
    side = side or config.sample_size
    latents = torch.randn(batch, config.in_channels, side, side, device=device)
    return latents, torch.randn(batch, tokens, config.cross_attention_dim, device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["train", "generate"])
    parser.add_argument("--model", type=Path, required=True, help="a folder in diffusers layout")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=20, help="denoising steps of `generate`")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--side", type=int, help="of the latents; the config's when absent")
    parser.add_argument("--random-weights", action="store_true", help="the folder has no more than configs")
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    # No TF32: f32 has full precision on both sides.
    torch.backends.cudnn.allow_tf32 = False
    where = arguments.device, PRECISIONS[arguments.precision]
    if arguments.task == "train":
        step = train_step(arguments.model, arguments.batch, arguments.side, arguments.random_weights, *where)
    else:
        step = generate_step(
            arguments.model, arguments.batch, arguments.side, arguments.random_weights, arguments.steps, *where
        )

    answer(step, arguments.device)


main()
