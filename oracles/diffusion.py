"""Fixtures of the diffusion crate: results of diffusers and transformers on small random models.

Weights are rounded to f16 before they are used, and stored in f16. Networks compute in f64; results are stored in f32. See README.md.
"""

import json
import math
import shutil
from pathlib import Path

import numpy
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import prompts
import vocabulary

FIXTURES = Path(__file__).resolve().parent.parent / "crates" / "diffusion" / "tests" / "fixtures"
WEIGHTS = "diffusion_pytorch_model.safetensors"
TOKENS = 77
TEXT_WIDTH = 12
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def normal(seed, *shape):
    """Standard normal values that are exact in f16, as f64."""
    values = numpy.random.Generator(numpy.random.PCG64(seed)).standard_normal(shape)
    return torch.from_numpy(values).half().double()


def settle(model, seed, gain=1.0):
    """Gives every parameter, norms and biases included, a value that affects the result; returns the model in f64."""
    model.double().eval()
    with torch.no_grad():
        for i, (name, parameter) in enumerate(sorted(model.named_parameters())):
            noise = normal(1000 * seed + i, *parameter.shape)
            if "embedding.weight" in name:
                value = noise
            elif parameter.dim() > 1:
                value = noise * gain / math.sqrt(parameter[0].numel())
            else:
                value = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
            parameter.copy_(value.half().double())
    return model


def save(folder, name, tensors, dtype=torch.float32):
    """Writes tensors as a safetensors file; integers keep their type."""
    folder.mkdir(parents=True, exist_ok=True)
    cast = {k: (t.to(dtype) if t.is_floating_point() else t).detach().contiguous().clone() for k, t in tensors.items()}
    save_file(cast, folder / name, metadata={"format": "pt"})


def write_json(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


def gradients(model, loss):
    """The gradient of every parameter by name; every parameter must have one."""
    model.zero_grad()
    loss.backward()
    found = {f"gradient.{name}": p.grad for name, p in model.named_parameters()}
    assert all(g is not None for g in found.values())
    return found


def unet(folder, seed, latents, timesteps, **config):
    """A UNet, its output for a batch, the mean squared error to a target, and all gradients of the error."""
    model = settle(UNet2DConditionModel(cross_attention_dim=TEXT_WIDTH, sample_size=4, **config), seed)
    model.save_config(folder)
    save(folder, WEIGHTS, model.state_dict(), torch.float16)
    batch = len(timesteps)
    given = {
        "latents": normal(seed + 1, batch, 4, *latents),
        "timesteps": torch.tensor(timesteps, dtype=torch.float64),
        "text": normal(seed + 2, batch, 5, TEXT_WIDTH),
        "target": normal(seed + 3, batch, 4, *latents),
    }
    output = model(given["latents"], given["timesteps"], given["text"]).sample
    loss = torch.nn.functional.mse_loss(output, given["target"])
    save(folder, "expected.safetensors", given | {"output": output, "loss": loss} | gradients(model, loss))
    return model


def unets():
    """The block order of SD 1.5, that of the bundled model, and the settings of SDXL that SD 1.5 lacks."""
    unet(
        FIXTURES / "unet_sd15",
        seed=10,
        latents=(9, 7),
        timesteps=[0, 437, 999],
        block_out_channels=(4, 8, 8),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    unet(
        FIXTURES / "unet_lists",
        seed=20,
        latents=(6, 5),
        timesteps=[981, 20],
        block_out_channels=(4, 8),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        norm_num_groups=2,
        norm_eps=1e-4,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    return unet(
        FIXTURES / "model" / "unet",
        seed=30,
        latents=(8, 8),
        timesteps=[3, 250.5],
        block_out_channels=(8, 8, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def autoencoder(folder, seed, size, **config):
    """An autoencoder, its results on images, and all gradients of a scalar that depends on every output."""
    blocks = len(config["block_out_channels"])
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks, **config
    )
    settle(model, seed)
    model.save_config(folder)
    save(folder, WEIGHTS, model.state_dict(), torch.float16)
    pictures = normal(seed + 1, 2, 3, *size).clamp(-1, 1)
    posterior = model.encode(pictures).latent_dist
    noise = normal(seed + 2, *posterior.mean.shape)
    decoded = model.decode(posterior.mean + torch.exp(0.5 * posterior.logvar) * noise).sample
    loss = torch.nn.functional.mse_loss(decoded, pictures) + 0.1 * posterior.logvar.square().mean()
    expected = {
        "pictures": pictures,
        "noise": noise,
        "mean": posterior.mean,
        "log_variance": posterior.logvar,
        "decoded": decoded,
        "loss": loss,
    }
    save(folder, "expected.safetensors", expected | gradients(model, loss))
    return model


def autoencoders():
    autoencoder(
        FIXTURES / "vae_plain",
        seed=50,
        size=(8, 20),
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return autoencoder(
        FIXTURES / "model" / "vae",
        seed=40,
        size=(12, 8),
        block_out_channels=(4, 8),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=2,
    )


def text_tower(folder, seed, ids, **config):
    """A CLIP text tower, its states for padded ids, and the pooled state."""
    config = CLIPTextConfig(
        hidden_size=TEXT_WIDTH,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=TOKENS,
        projection_dim=8,
        bos_token_id=config["vocab_size"] - 2,
        **config,
    )
    # With this gain exact, tanh and quick GELU differ by far more than the tolerance.
    model = settle(CLIPTextModel(config), seed, gain=2.0)
    write_json(folder / "config.json", config.to_diff_dict() | {"architectures": ["CLIPTextModel"]})
    # Published files have this prefix; transformers 5 removes it when loading.
    prefixed = {f"text_model.{name}": p for name, p in model.named_parameters()}
    save(folder, "model.safetensors", prefixed, torch.float16)
    output = model(input_ids=ids)
    states, pooled = output.last_hidden_state, output.pooler_output
    save(folder, "expected.safetensors", {"ids": ids, "states": states, "pooled": pooled})
    return model


def tokenizer():
    """CLIP's tokenizer with a small vocabulary, and its ids of the prompts."""
    folder = FIXTURES / "model" / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary.learn(prompts.PROMPTS)
    (folder / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    write_json(folder / "tokenizer_config.json", {"pad_token": "<|endoftext|>", "model_max_length": TOKENS})

    def ids(pad, texts):
        made = CLIPTokenizer(vocab=tokens, merges=merges, pad_token=pad, model_max_length=TOKENS)
        return made, made(texts, padding="max_length", truncation=True, max_length=TOKENS)["input_ids"]

    made, padded = ids("<|endoftext|>", prompts.PROMPTS)
    marks = [p for p in prompts.PROMPTS if "!" in p]
    _, padded_otherwise = ids("!", marks)
    for name, texts, found in (("expected", prompts.PROMPTS, padded), ("expected_pad", marks, padded_otherwise)):
        lines = [json.dumps({"prompt": p, "ids": i}) for p, i in zip(texts, found)]
        (folder / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return made


def towers(tokens):
    def ids(texts):
        return tokens(texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")["input_ids"]

    texts = ["a red circle", "", "the quick brown fox jumps over the lazy dog, " * 9]
    words = len(tokens)
    text_tower(
        FIXTURES / "text_encoder_gelu", seed=60, ids=ids(texts), vocab_size=words, hidden_act="gelu",
        eos_token_id=tokens.eos_token_id, layer_norm_eps=1e-4,
    )
    # 2 is the value in the config of SD 1.5.
    return text_tower(
        FIXTURES / "model" / "text_encoder", seed=70, ids=ids(texts), vocab_size=words, hidden_act="quick_gelu",
        eos_token_id=2,
    )


def pipeline(unet, vae, text, tokens):
    """Images of the whole pipeline from given noise."""
    folder = FIXTURES / "model"
    settings = SCHEDULE | {"set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"}
    write_json(folder / "scheduler" / "scheduler_config.json", settings | {"_class_name": "DDIMScheduler", "clip_sample": False})
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    write_json(folder / "generation_config.json", {"num_inference_steps": 5, "guidance_scale": 4.0, "sampler": "euler"})
    asked = {
        "prompt": ["a red circle on a blue background", "it's 2 dogs, in the snow!"],
        "negative_prompt": ["blurry", ""],
    }
    noise = normal(90, 2, 4, 12, 8)
    tensors = {"noise": noise}
    ends = {"set_alpha_to_one": settings.pop("set_alpha_to_one")}
    samplers = {
        "ddim": DDIMScheduler(**settings, **ends, clip_sample=False),
        "dpmpp_2m": DPMSolverMultistepScheduler(**settings),
        "dpmpp_2m_karras": DPMSolverMultistepScheduler(**settings, use_karras_sigmas=True),
        "euler": EulerDiscreteScheduler(**settings),
        "pndm": PNDMScheduler(**settings, **ends, skip_prk_steps=True),
        "unipc": UniPCMultistepScheduler(**settings),
    }
    for name, sampler in samplers.items():
        made = StableDiffusionPipeline(
            vae=vae, text_encoder=text, tokenizer=tokens, unet=unet, scheduler=sampler,
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )
        made.set_progress_bar_config(disable=True)
        for guidance in (1, 4):
            images = made(
                **asked, height=24, width=16, num_inference_steps=5, guidance_scale=guidance,
                latents=noise.clone(), output_type="np",
            ).images
            spread = images.std(axis=(1, 2, 3))
            assert (spread > 0.05).all(), f"images of {name} at guidance {guidance} are flat: {spread}"
            tensors[f"{name}.{guidance}"] = torch.from_numpy((images * 255).round().astype("uint8"))
    save(folder, "expected.safetensors", tensors)
    write_json(folder / "expected.json", asked)


def main():
    torch.set_num_threads(1)
    for made in ("model", "text_encoder_*", "unet_*", "vae_*"):
        for folder in FIXTURES.glob(made):
            shutil.rmtree(folder)
    tokens = tokenizer()
    denoiser, coder, text = unets(), autoencoders(), towers(tokens)
    with torch.no_grad():
        pipeline(denoiser, coder, text, tokens)
    size = sum(f.stat().st_size for f in FIXTURES.rglob("*") if f.is_file())
    print(f"{size} bytes under {FIXTURES.name}/")


if __name__ == "__main__":
    main()
