"""Fixtures of image editors: InstructPix2Pix by diffusers' pipeline; Prompt Diffusion's ControlNet as in the port for diffusers (a plain
ControlNet with a second hint encoder) and as in the first implementation, rebuilt here from its published architecture with its tensor
names; Stable Diffusion's safety checker.

The text encoder, the autoencoder and the tokenizer are those of the model of diffusion.py. See README.md.
"""

import json
import math
import shutil
from pathlib import Path

import numpy
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from diffusers.pipelines.stable_diffusion import safety_checker as checker
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPTextModel, CLIPTokenizer

from diffusion import FIXTURES, SCHEDULE, TEXT_WIDTH, WEIGHTS, normal, save, settle, write_json

MODEL = FIXTURES / "model"
CHECKER = FIXTURES.parent.parent.parent / "evaluation" / "tests" / "fixtures" / "safety_checker"
SAMPLING = SCHEDULE | {"steps_offset": 1}


def picture(seed, width, height):
    """A smooth image with some noise, as a PIL image."""
    noise = numpy.random.Generator(numpy.random.PCG64(seed)).uniform(-20, 20, (height, width, 3))
    rows, columns = numpy.mgrid[0:height, 0:width]
    waves = [127 + 90 * numpy.sin(rows / (2 + c) + columns / (3 - c) + seed) for c in range(3)]
    return Image.fromarray((numpy.stack(waves, -1) + noise).clip(0, 255).astype("uint8"))


def bytes_of(image):
    return torch.from_numpy(numpy.array(image))


def parts():
    """The shared parts of the small model, in f64."""
    text = CLIPTextModel.from_pretrained(MODEL / "text_encoder").double().eval()
    # transformers before 5 creates its mask in the default type, which must represent the minimum of f64.
    text.register_forward_pre_hook(lambda *_: torch.set_default_dtype(torch.float64))
    text.register_forward_hook(lambda *_: torch.set_default_dtype(torch.float32))
    vae = AutoencoderKL.from_pretrained(MODEL / "vae").double().eval()
    return text, vae, CLIPTokenizer.from_pretrained(MODEL / "tokenizer")


def instruct_pix2pix():
    """Edits in one and in four steps, with and without guidance, from recorded noise."""
    folder = FIXTURES / "instruct_pix2pix"
    text, vae, tokenizer = parts()
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=2,
        cross_attention_dim=TEXT_WIDTH,
    )
    settle(unet, 310)
    unet.save_config(folder / "unet")
    save(folder / "unet", WEIGHTS, unet.state_dict(), torch.float16)
    sampler = EulerAncestralDiscreteScheduler(**SAMPLING)
    write_json(folder / "scheduler" / "scheduler_config.json", dict(sampler.config) | {"_class_name": "EulerAncestralDiscreteScheduler"})
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionInstructPix2PixPipeline"})
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=sampler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pictures = [picture(1, 16, 20), picture(2, 16, 20)]
    asked = {"prompt": ["a red circle", "in the snow!"], "negative_prompt": ["blurry", ""]}
    noise, fresh = normal(320, 2, 4, 10, 8), normal(321, 4, 2, 4, 10, 8)
    tensors = {"noise": noise, "fresh": fresh, "pictures": torch.stack([bytes_of(p) for p in pictures])}
    for steps in (1, 4):
        for name, guidance, image_guidance in (("guided", 7.5, 1.5), ("plain", 1.0, 1.5), ("image_below_1", 7.5, 0.9)):
            left = iter(fresh)
            scheduling_euler_ancestral_discrete.randn_tensor = lambda *_, **__: next(left)
            seen = []
            images = pipeline(
                **asked, image=pictures, num_inference_steps=steps, guidance_scale=guidance,
                image_guidance_scale=image_guidance, latents=noise.clone(), output_type="pt",
                callback_on_step_end=lambda _, i, t, values: seen.append(values["latents"].clone()) or values,
            ).images
            tensors |= {f"{name}.{steps}.latents": seen[-1], f"{name}.{steps}.pictures": images}
    # Sides that are not multiples of eight, resized as by diffusers' image processor.
    odd = picture(3, 39, 21)
    width, height = (side - side % 8 for side in odd.size)
    tensors |= {"odd": bytes_of(odd), "resized": bytes_of(odd.resize((width, height), Image.Resampling.LANCZOS))}
    save(folder, "expected.safetensors", tensors)
    write_json(folder / "expected.json", asked)


class TwoHints(ControlNetModel):
    """Prompt Diffusion in the port for diffusers: adds an encoder of the query image to the plain ControlNet, whose hint is the
    example pair."""

    def add_query(self, hint_channels):
        self.controlnet_query_cond_embedding = ControlNetConditioningEmbedding(
            conditioning_embedding_channels=self.config.block_out_channels[0],
            block_out_channels=hint_channels,
            conditioning_channels=3,
        )

    def forward(self, sample, timestep, text, pair, query):
        # The sum of both encoders replaces the output of the single encoder.
        both = lambda hint: self.hint_of_pair(hint) + self.controlnet_query_cond_embedding(query)
        found = self.controlnet_cond_embedding
        self.hint_of_pair = found
        self._modules["controlnet_cond_embedding"] = Call(both)
        try:
            return super().forward(sample, timestep, text, pair, return_dict=False)
        finally:
            self._modules["controlnet_cond_embedding"] = found
            del self._modules["hint_of_pair"]


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


HINTS = (4, 8)
SHAPE = {
    "block_out_channels": (8, 8, 8),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "cross_attention_dim": TEXT_WIDTH,
    "conditioning_embedding_out_channels": HINTS,
}


def plain_control():
    """diffusers' ControlNet with one hint, and a UNet that it controls."""
    folder = FIXTURES / "controlnet_plain"
    model = settle(ControlNetModel(**SHAPE, conditioning_channels=3), 400)
    model.save_config(folder)
    save(folder, WEIGHTS, model.state_dict(), torch.float16)
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet").double().eval()
    given = {
        "latents": normal(401, 2, 4, 7, 5),
        "timesteps": torch.tensor([981.0, 20.0], dtype=torch.float64),
        "text": normal(402, 2, 5, TEXT_WIDTH),
        "hint": normal(403, 2, 3, 14, 10),
    }
    down, mid = model(given["latents"], given["timesteps"], given["text"], given["hint"], return_dict=False)
    output = unet(
        given["latents"], given["timesteps"], given["text"],
        down_block_additional_residuals=down, mid_block_additional_residual=mid,
    ).sample
    tensors = given | {f"down.{i}": t for i, t in enumerate(down)} | {"mid": mid, "output": output}
    save(folder, "expected.safetensors", tensors)


def prompt_diffusion():
    """Both hints with diffusers' names, and images of three guided steps with either scale of hints."""
    folder = FIXTURES / "prompt_diffusion"
    model = TwoHints(**SHAPE, conditioning_channels=6)
    model.add_query(HINTS)
    settle(model, 420)
    model.save_config(folder / "controlnet")
    config = folder / "controlnet" / "config.json"
    write_json(config, json.loads(config.read_text()) | {"_class_name": "PromptDiffusionControlNetModel"})
    save(folder / "controlnet", WEIGHTS, model.state_dict(), torch.float16)
    text, vae, tokenizer = parts()
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet").double().eval()
    pictures = [picture(seed, 16, 24) for seed in (4, 5, 6)]
    noise = normal(430, 1, 4, 12, 8)
    asked = {"prompt": "a red circle on a blue background", "negative_prompt": "blurry"}
    ids = tokenizer(
        [asked["negative_prompt"], asked["prompt"]], padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids
    states = text(ids).last_hidden_state
    tensors = {"noise": noise, "pictures": torch.stack([bytes_of(p) for p in pictures])}
    for name, scale, shift in (("unit", 1, 0), ("signed", 2, -1)):
        source, target, query = [
            bytes_of(p).double().permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255 * scale + shift for p in pictures
        ]
        sampler = DDIMScheduler(**SAMPLING, set_alpha_to_one=False, clip_sample=False)
        sampler.set_timesteps(3)
        latents = noise.clone()
        for t in sampler.timesteps:
            both = torch.cat([latents] * 2)
            down, mid = model(both, t, states, torch.cat([source, target], 1), query)
            says = unet(both, t, states, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
            negative, positive = says.chunk(2)
            latents = sampler.step(negative + 9.0 * (positive - negative), t, latents).prev_sample
        tensors |= {f"{name}.latents": latents, f"{name}.pictures": vae.decode(latents / vae.config.scaling_factor).sample}
    save(folder, "expected.safetensors", tensors)
    write_json(folder / "expected.json", asked)


# The first implementation: `ldm` and `cldm`. The names of its modules determine the names of its tensors.


class Residual(nn.Module):
    def __init__(self, inputs, outputs, time, groups):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, outputs), nn.SiLU(), nn.Dropout(0), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, time, text):
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, width, context, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0))

    def forward(self, x, context=None):
        context = x if context is None else context
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(self.to_q(x)), split(self.to_k(context)), split(self.to_v(context))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(Gate(width), nn.Dropout(0), nn.Linear(4 * width, width))

    def forward(self, x):
        return self.net(x)


class Block(nn.Module):
    def __init__(self, width, context, heads):
        super().__init__()
        self.attn1 = Attention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x, text):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), text)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    def __init__(self, width, context, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([Block(width, context, heads)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x, time, text):
        height = x.shape[2]
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        h = self.transformer_blocks[0](h, text)
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, (height, -1)))


class Halving(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x, time, text):
        return self.op(x)


class Sequence(nn.Sequential):
    """Passes timestep and text to the layers that take them."""

    def forward(self, x, time, text):
        for layer in self:
            takes = isinstance(layer, (Residual, Transformer, Halving))
            x = layer(x, time, text) if takes else layer(x)
        return x


def hint_encoder(inputs, widths, outputs):
    layers = [nn.Conv2d(inputs, widths[0], 3, padding=1)]
    for before, after in zip(widths, widths[1:]):
        layers += [nn.SiLU(), nn.Conv2d(before, before, 3, padding=1)]
        layers += [nn.SiLU(), nn.Conv2d(before, after, 3, padding=1, stride=2)]
    return Sequence(*layers, nn.SiLU(), nn.Conv2d(widths[-1], outputs, 3, padding=1))


class OriginalControl(nn.Module):
    """`cldm.ControlNet` of Prompt Diffusion: attention at every resolution except the lowest."""

    def __init__(self, widths, layers, heads, groups, context, hints):
        super().__init__()
        first, time = widths[0], 4 * widths[0]
        zero = lambda width: Sequence(nn.Conv2d(width, width, 1))
        self.time_embed = nn.Sequential(nn.Linear(first, time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks = nn.ModuleList([Sequence(nn.Conv2d(4, first, 3, padding=1))])
        self.zero_convs = nn.ModuleList([zero(first)])
        self.input_hint_block = hint_encoder(6, hints, first)
        self.input_cond_block = hint_encoder(3, hints, first)
        before = first
        for level, width in enumerate(widths):
            lowest = level + 1 == len(widths)
            for _ in range(layers):
                parts = [Residual(before, width, time, groups)]
                if not lowest:
                    parts.append(Transformer(width, context, heads, groups))
                self.input_blocks.append(Sequence(*parts))
                self.zero_convs.append(zero(width))
                before = width
            if not lowest:
                self.input_blocks.append(Sequence(Halving(width)))
                self.zero_convs.append(zero(width))
        self.middle_block = Sequence(
            Residual(before, before, time, groups),
            Transformer(before, context, heads, groups),
            Residual(before, before, time, groups),
        )
        self.middle_block_out = zero(before)
        self.first = first

    def forward(self, x, timesteps, pair, query, text):
        half = self.first // 2
        # In f32, as in the original.
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = timesteps[:, None].float() * frequencies
        time = self.time_embed(torch.cat([angles.cos(), angles.sin()], -1).double())
        hint = self.input_hint_block(pair, time, text) + self.input_cond_block(query, time, text)
        outputs = []
        for i, (block, zero) in enumerate(zip(self.input_blocks, self.zero_convs)):
            x = block(x, time, text)
            x = x + hint if i == 0 else x
            outputs.append(zero(x, time, text))
        x = self.middle_block(x, time, text)
        return [*outputs, self.middle_block_out(x, time, text)]


def original_control():
    """A checkpoint as torch.save and the first implementation write it, together with tensors of other networks."""
    folder = FIXTURES / "controlnet_original"
    model = settle(OriginalControl((8, 8, 16), 2, 4, 4, TEXT_WIDTH, (4, 6, 8)), 440)
    given = {
        "latents": normal(441, 2, 4, 7, 5),
        "timesteps": torch.tensor([981.0, 20.0], dtype=torch.float64),
        "text": normal(442, 2, 5, TEXT_WIDTH),
        "pair": normal(443, 2, 6, 28, 20),
        "query": normal(444, 2, 3, 28, 20),
    }
    *down, mid = model(given["latents"], given["timesteps"], given["pair"], given["query"], given["text"])
    save(folder, "expected.safetensors", given | {f"down.{i}": t for i, t in enumerate(down)} | {"mid": mid})
    tensors = {f"control_model.{name}": t.half() for name, t in model.state_dict().items()}
    tensors["model.diffusion_model.out.2.bias"] = torch.zeros(4).half()
    torch.save({"state_dict": tensors, "global_step": 4999}, folder / "network.ckpt")


def safety_checker():
    """Verdicts of a small checker with thresholds at which concepts of all kinds are present."""
    config = CLIPConfig(
        text_config={"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        vision_config={
            "image_size": 28, "patch_size": 14, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "hidden_act": "quick_gelu", "projection_dim": 8,
        },
        projection_dim=8,
    )
    model = settle(checker.StableDiffusionSafetyChecker(config), 500, gain=2.0)
    pixels = normal(501, 12, 3, 28, 28)
    with torch.no_grad():
        features = model.visual_projection(model.vision_model(pixels)[1])
        cosines = {}
        for i, kind in enumerate(("special_care_embeds", "concept_embeds")):
            embeds = getattr(model, kind)
            embeds.copy_(normal(510 + i, *embeds.shape))
            cosines[kind] = functional.normalize(features) @ functional.normalize(embeds).t()
            # High enough that most images pass and a few of every kind do not.
            levels = cosines[kind].quantile(0.93, dim=0).half().double()
            getattr(model, f"{kind}_weights").copy_(levels)
        # A concept so close to its threshold that only the special care's 0.01 puts it above.
        special = (cosines["special_care_embeds"] > model.special_care_embeds_weights + 0.001).any(1)
        lifted = int(special.nonzero()[0])
        model.concept_embeds_weights[3] = cosines["concept_embeds"][lifted, 3].float() + 0.005
    CHECKER.mkdir(parents=True, exist_ok=True)
    config.architectures = ["StableDiffusionSafetyChecker"]
    write_json(CHECKER / "config.json", json.loads(config.to_json_string(use_diff=False)))
    # Thresholds stay f32: one of them is placed exactly.
    weights = {k: v.float() if k.endswith("_weights") else v.half() for k, v in model.state_dict().items()}
    weights = {k: v.contiguous() for k, v in weights.items()}
    save_file(weights, CHECKER / "model.safetensors", metadata={"format": "pt"})
    tensors = {"pixels": pixels, "features": features}
    tensors |= {f"{kind}.cosines": cosine for kind, cosine in cosines.items()}
    save(CHECKER, "expected.safetensors", tensors)
    write_json(CHECKER / "expected.json", verdicts(model.float(), pixels.float()))


def verdicts(model, pixels):
    """The scores of diffusers' forward pass in f32, as pipelines run it, image by image. It does not return its scores, so they are recorded
    where it rounds them, those of the special concepts first."""
    results = []
    for picture in pixels:
        scores = []

        def note(value, digits):
            scores.append(float(round(value, digits)))
            return round(value, digits)

        checker.round = note
        try:
            _, unsafe = model(picture[None], [numpy.zeros((1, 1, 3))])
        finally:
            del checker.round
        results.append({"special": scores[:3], "concepts": scores[3:], "unsafe": bool(unsafe[0])})
    assert 0 < sum(r["unsafe"] for r in results) < len(results)
    return results


def main():
    torch.set_num_threads(1)
    for name in ("instruct_pix2pix", "prompt_diffusion", "controlnet_plain", "controlnet_original"):
        shutil.rmtree(FIXTURES / name, ignore_errors=True)
    shutil.rmtree(CHECKER, ignore_errors=True)
    with torch.no_grad():
        instruct_pix2pix()
        plain_control()
        prompt_diffusion()
        original_control()
        safety_checker()


if __name__ == "__main__":
    main()
