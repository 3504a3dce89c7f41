"""Fixtures of adapters that also update text encoders: files in the naming of kohya's scripts and of diffusers, and the encoded
prompts of diffusers with them.

    lora_text.py    writes crates/diffusion/tests/fixtures/lora_text_{sd15,sdxl}/

The models are the fixtures `model` and `sdxl` of `pipelines.py`. Needs `peft` in addition to requirements.txt.
"""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from diffusion import FIXTURES, normal

torch.set_num_threads(1)

PROMPTS = ["a red circle", "a blue square on a green field"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
UNET = ["to_q", "to_k", "to_v", "to_out.0"]
RANK = 2
KINDS = {"sd15": (StableDiffusionPipeline, "model"), "sdxl": (StableDiffusionXLPipeline, "sdxl")}
KOHYA = {"sd15": {"unet": "lora_unet", "text_encoder": "lora_te"}, "sdxl": {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}}


def pipeline(kind):
    cls, name = KINDS[kind]
    folder = FIXTURES / name
    parts = {
        "vae": AutoencoderKL.from_pretrained(folder / "vae"),
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet"),
        "scheduler": DDIMScheduler.from_pretrained(folder / "scheduler"),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder"),
        "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    }
    if kind == "sdxl":
        parts["text_encoder_2"] = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2")
        parts["tokenizer_2"] = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return cls(**parts).to(torch.float64)


def adapters(kind):
    """The factors of each network by PEFT's names, with values that affect the result."""
    model, found = pipeline(kind), {}
    for i, name in enumerate(KOHYA[kind]):
        network = getattr(model, name)
        targets = UNET if name == "unet" else TEXT
        network.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets, init_lora_weights="gaussian"))
        with torch.no_grad():
            for j, (_, p) in enumerate(sorted((n, p) for n, p in network.named_parameters() if "lora_" in n)):
                p.copy_(0.5 * normal(10_000 * (i + 1) + j, *p.shape).half().double())
        found[name] = {published(name, k): v.half() for k, v in get_peft_model_state_dict(network).items()}
    return found


def published(network, key):
    """The name in published files: transformers 5.6 and later omit the first part."""
    return key if network == "unet" or key.startswith("text_model.") else f"text_model.{key}"


def kohya(kind, found, alpha):
    """kohya's names, with an alpha for every layer."""
    state = {}
    for network, factors in found.items():
        for name, value in factors.items():
            layer, factor = name.split(".lora_")
            flat = f"{KOHYA[kind][network]}_{layer.replace('.', '_')}"
            state[f"{flat}.lora_{'down' if factor[0] == 'A' else 'up'}.weight"] = value
            state[f"{flat}.alpha"] = torch.tensor(alpha).half()
    return state


def encoded(model, scale):
    """The encoded prompts with the loaded adapter."""
    model.set_adapters(["default_0"], [scale])
    for network in ("unet", "text_encoder", "text_encoder_2"):
        if getattr(model, network, None) is not None:
            getattr(model, network).double()
    with torch.no_grad():
        result = model.encode_prompt(PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    return {"states": result[0]} | ({"pooled": result[2]} if len(result) > 2 else {})


def write(kind):
    folder = FIXTURES / f"lora_text_{kind}"
    folder.mkdir(exist_ok=True)
    found = adapters(kind)
    # alpha is half the rank.
    save_file(kohya(kind, found, RANK / 2), folder / "kohya.safetensors", metadata={"format": "pt", "ss_network_dim": str(RANK)})
    # Without alphas diffusers takes the rank.
    state = {f"{network}.{name}": value for network, factors in found.items() for name, value in factors.items()}
    save_file(state, folder / "diffusers.safetensors", metadata={"format": "pt"})
    expected = {}
    for file in ("kohya", "diffusers"):
        model = pipeline(kind)
        model.load_lora_weights(folder, weight_name=f"{file}.safetensors", adapter_name="default_0")
        for scale in (1.0, 0.75):
            for name, value in encoded(model, scale).items():
                expected[f"{file}.{scale}.{name}"] = value.float().contiguous()
    plain = pipeline(kind).encode_prompt(PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    expected["plain.states"] = plain[0].detach().float().contiguous()
    save_file(expected, folder / "expected.safetensors")
    for name, value in expected.items():
        print(kind, name, tuple(value.shape), f"{(value - expected['plain.states']).norm() / value.norm():.3f}" if value.shape == expected["plain.states"].shape else "")


if __name__ == "__main__":
    for kind in KINDS:
        write(kind)
