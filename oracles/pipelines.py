"""Fixtures of models in their published form: small models of the shapes of SD 2.1 and SDXL in diffusers layout, the results of their text
encoders, and images of diffusers' pipelines from given noise.

Weights are rounded to f16 before they are used, and stored in f16. Networks compute in f64; results are stored in f32. See README.md.
"""

import copy
import json
import shutil

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import prompts
import vocabulary
from diffusion import FIXTURES, SCHEDULE, TOKENS, WEIGHTS, normal, save, settle, write_json

TEXTS = [
    "A red circle, on a blue background!",
    "",
    "the quick brown fox jumps over the lazy dog! " * 12,
    "caf\u00e9 \u201cna\u00efve\u201d 2 dogs'  it's   \u96ea !!",
]
STEPS = 4
# As in the repositories, including fields that have no effect.
SAMPLERS = {
    "sd21": (
        DDIMScheduler,
        {"clip_sample": False, "prediction_type": "v_prediction", "set_alpha_to_one": False, "skip_prk_steps": True,
         "steps_offset": 1, "trained_betas": None, "num_train_timesteps": 1000},
    ),
    "sdxl": (
        EulerDiscreteScheduler,
        {"clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
         "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True,
         "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None, "use_karras_sigmas": False},
    ),
}  # fmt: skip


def tokenizer(folder, tokens, merges, pad, old):
    """CLIP's tokenizer as in a repository. `old`: as in that of SD 2.1, whose two files disagree on the padding."""
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {"model_max_length": TOKENS, "pad_token": "<|endoftext|>" if old else pad, "tokenizer_class": "CLIPTokenizer"}
    write_json(folder / "tokenizer_config.json", config)
    if old:
        write_json(folder / "special_tokens_map.json", {"eos_token": "<|endoftext|>", "pad_token": pad})
    made = CLIPTokenizer.from_pretrained(folder)
    assert made.pad_token == pad, made.pad_token
    return made


def text_encoder(folder, seed, kind, words, **config):
    """A text tower with the names of published files."""
    config = CLIPTextConfig(
        vocab_size=words, max_position_embeddings=TOKENS, bos_token_id=0, pad_token_id=1, eos_token_id=2, **config
    )
    model = settle(kind(config), seed, gain=2.0)
    write_json(folder / "config.json", config.to_diff_dict() | {"architectures": [kind.__name__]})
    known = ("text_model.", "text_projection.")
    names = {n if n.startswith(known) else f"text_model.{n}": p for n, p in model.named_parameters()}
    save(folder, "model.safetensors", names, torch.float16)
    return model


def network(folder, model, seed):
    """Writes config and weights of a UNet or autoencoder."""
    settle(model, seed)
    model.save_config(folder)
    save(folder, WEIGHTS, model.state_dict(), torch.float16)
    return model


def autoencoder(folder, seed, **config):
    """Eight pixels per latent, as in all published models."""
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    model = AutoencoderKL(
        block_out_channels=(4, 4, 4, 8), layers_per_block=1, latent_channels=4, norm_num_groups=2, **kinds, **config
    )
    return network(folder, model, seed)


def sd21(folder, tokens, merges):
    """v-prediction, exact GELU, heads per block, linear projections, padding with `!`."""
    text = text_encoder(
        folder / "text_encoder", 110, CLIPTextModel, len(tokens), hidden_act="gelu",
        hidden_size=12, intermediate_size=20, num_hidden_layers=3, num_attention_heads=2, projection_dim=8,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=3, cross_attention_dim=12, block_out_channels=(4, 8, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(1, 2, 4), use_linear_projection=True, upcast_attention=True,
    )  # fmt: skip
    sampler, settings = SAMPLERS["sd21"]
    return StableDiffusionPipeline(
        vae=autoencoder(folder / "vae", 120),
        text_encoder=text,
        tokenizer=tokenizer(folder / "tokenizer", tokens, merges, "!", old=True),
        unet=network(folder / "unet", unet, 130),
        scheduler=sampler.from_config(SCHEDULE | settings),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(folder, tokens, merges):
    """Two text encoders, pooled text and time ids, no attention in the first block."""
    first = text_encoder(
        folder / "text_encoder", 140, CLIPTextModel, len(tokens), hidden_act="quick_gelu",
        hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, projection_dim=12,
    )  # fmt: skip
    second = text_encoder(
        folder / "text_encoder_2", 150, CLIPTextModelWithProjection, len(tokens), hidden_act="gelu",
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, projection_dim=10,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, cross_attention_dim=28, block_out_channels=(4, 8, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(1, 2, 4), transformer_layers_per_block=(1, 1, 2), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=34,
    )  # fmt: skip
    sampler, settings = SAMPLERS["sdxl"]
    return StableDiffusionXLPipeline(
        vae=autoencoder(folder / "vae", 160, scaling_factor=0.13025, force_upcast=True),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer(folder / "tokenizer", tokens, merges, "<|endoftext|>", old=False),
        tokenizer_2=tokenizer(folder / "tokenizer_2", tokens, merges, "!", old=False),
        unet=network(folder / "unet", unet, 170),
        scheduler=sampler.from_config(SCHEDULE | settings),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


# Name: prompts, negative prompts, guidance scale, height, width. Some sides are odd numbers of latents.
CASES = {
    "plain": (["a red circle on a blue background"], None, 1.0, 40, 24),
    "no_negative": (["a red circle on a blue background", "it's 2 dogs, in the snow!"], None, 5.0, 24, 16),
    "empty_negative": (["a red circle on a blue background", "it's 2 dogs, in the snow!"], ["", ""], 5.0, 24, 16),
    "negative": (["it's 2 dogs, in the snow!"], ["blurry, a cat"], 7.5, 24, 40),
}


def encoded(made):
    """Text states, and the pooled text if there is one."""
    if hasattr(made, "text_encoder_2"):
        states, _, pooled, _ = made.encode_prompt(TEXTS, do_classifier_free_guidance=False)
        apart = torch.pdist(pooled).min().item()
        assert apart > 0.1, "texts that pool alike tell nothing about where they are pooled"
        return {"states": states, "pooled": pooled}
    return {"states": made.encode_prompt(TEXTS, "cpu", 1, False)[0]}


def pictures(made, dtype):
    """The images of all cases, from -1 to 1, clipped as in diffusers."""
    found = {}
    for i, (name, (texts, negative, guidance, height, width)) in enumerate(CASES.items()):
        noise = normal(220 + i, len(texts), 4, height // 8, width // 8)
        images = made(
            prompt=texts, negative_prompt=negative, height=height, width=width, num_inference_steps=STEPS,
            guidance_scale=guidance, latents=noise.to(dtype), output_type="pt",
        ).images  # fmt: skip
        found |= {f"{name}.noise": noise, f"{name}.pictures": images.double() * 2 - 1}
    return found


def fixture(name, make, tokens, merges):
    folder = FIXTURES / name
    made = make(folder, tokens, merges)
    made.set_progress_bar_config(disable=True)
    sampler, settings = SAMPLERS[name]
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": sampler.__name__} | SCHEDULE | settings)
    index = {key: value for key, value in made.config.items() if not key.startswith("_")}
    write_json(folder / "model_index.json", {"_class_name": type(made).__name__} | index)
    expected = encoded(made) | pictures(made, torch.float64)
    narrow = copy.copy(made).to(torch.float32)
    for key, value in pictures(narrow, torch.float32).items():
        off = ((value - expected[key]).norm() / expected[key].norm()).item()
        clipped = (expected[key].abs() == 1).double().mean().item()
        print(f"{name}: {key} in f32 is off by {off:.1e}, deviation {expected[key].std():.2f}, {clipped:.0%} clipped")
        assert off < 2e-5 and expected[key].std() > 0.1, "ill-conditioned or flat: take another seed"
    save(folder, "expected.safetensors", expected)
    cases = {n: dict(zip(("prompt", "negative_prompt", "guidance_scale", "height", "width"), c)) for n, c in CASES.items()}
    write_json(folder / "expected.json", {"texts": TEXTS, "steps": STEPS, "cases": cases})
    print(f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())} bytes in {name}/")


def published_order(tokens):
    """Puts the start and end tokens last, as in CLIP's vocabulary: old configs find the end token by the largest id. The texts that `vocabulary`
    learns from contain the names of these tokens, so merges create them earlier."""
    marks = [vocabulary.START, vocabulary.END]
    return {token: i for i, token in enumerate([t for t in tokens if t not in marks] + marks)}


def main():
    torch.set_num_threads(1)
    tokens, merges = vocabulary.learn(prompts.PROMPTS)
    tokens = published_order(tokens)
    for name, make in (("sd21", sd21), ("sdxl", sdxl)):
        shutil.rmtree(FIXTURES / name, ignore_errors=True)
        with torch.no_grad():
            fixture(name, make, tokens, merges)


if __name__ == "__main__":
    main()
