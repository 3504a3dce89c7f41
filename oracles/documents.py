"""Small models in the layouts of the repositories that docs/your-own-data.md names (server/tests/fixtures/documents/): Stable Diffusion 1.5 as a
pipeline of diffusers, and one CLIP twice, as transformers and as open_clip publish it. The test of the documents serves them from a stand-in hub under
the published names. Weights are random; the vocabulary is small enough for the checkpoint `sd1.ckpt` of sources.py. See README.md.
"""

import shutil
from pathlib import Path

import open_clip
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextModel

import prompts
import vocabulary
from diffusion import SCHEDULE, TOKENS, normal, save, settle, write_json
from pipelines import autoencoder, network, published_order, text_encoder, tokenizer

FOLDER = Path(__file__).resolve().parent.parent / "server" / "tests" / "fixtures" / "documents"
# 64 x 64 pixels, at eight pixels per latent.
LATENTS = 8
# As in the repository of SD 1.5.
SAMPLER = {
    "_class_name": "PNDMScheduler", "clip_sample": False, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
MEAN, DEVIATION = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SIDE, PATCH, WIDTH, TEXT_WIDTH, JOINT = 32, 8, 24, 16, 12


def stable_diffusion(folder, tokens, merges):
    text_encoder(
        folder / "text_encoder", 310, CLIPTextModel, len(tokens), hidden_act="quick_gelu",
        hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, projection_dim=12,
    )  # fmt: skip
    tokenizer(folder / "tokenizer", tokens, merges, vocabulary.END, old=False)
    unet = UNet2DConditionModel(
        sample_size=LATENTS, cross_attention_dim=12, block_out_channels=(4, 8, 8), layers_per_block=1, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2,
    )  # fmt: skip
    network(folder / "unet", unet, 330)
    autoencoder(folder / "vae", 320)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULE | SAMPLER)
    parts = {
        "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": [None, None], "feature_extractor": [None, None],
    }  # fmt: skip
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", "requires_safety_checker": False}
    write_json(folder / "model_index.json", index | parts)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a red circle", num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0)).images[0]
    assert image.shape == (64, 64, 3) and image.std() > 0.05, "the image is flat: take another seed"


def clip(folder, tokens, merges):
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    common = {"hidden_act": "quick_gelu", "projection_dim": JOINT, "num_hidden_layers": 2}
    text = common | ends | {"hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH, "num_attention_heads": 2, "vocab_size": len(tokens)}
    vision = common | {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 3, "image_size": SIDE, "patch_size": PATCH}
    config = CLIPConfig(text_config=text | {"max_position_embeddings": TOKENS}, vision_config=vision, projection_dim=JOINT)
    model = settle(CLIPModel(config), 340, gain=1.5)
    with torch.no_grad():
        model.logit_scale.fill_(4.6)
    tokenizer(folder, tokens, merges, vocabulary.END, old=False)
    write_json(folder / "config.json", config.to_dict() | {"architectures": ["CLIPModel"]})
    save(folder, "model.safetensors", published_names(model.state_dict()), torch.float16)
    write_json(folder / "preprocessor_config.json", {
        "crop_size": SIDE, "do_center_crop": True, "do_normalize": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": MEAN, "image_std": DEVIATION, "resample": 3, "size": SIDE,
    })  # fmt: skip
    return model


def published_names(state):
    """transformers omits `text_model.` and `vision_model.` in some versions; published files have both."""
    known = ("text_model.", "vision_model.", "text_projection.", "visual_projection.", "logit_scale")
    assert all(name.startswith(known) for name in state), list(state)[:5]
    return {name: value for name, value in state.items() if not name.endswith("position_ids")}


def open_clip_names(state):
    """transformers' names and shapes as open_clip's."""
    found = {"logit_scale": state["logit_scale"], "text_projection": state["text_projection.weight"].T}
    found |= {"visual.proj": state["visual_projection.weight"].T}
    for theirs, ours in (("text_model.", ""), ("vision_model.", "visual.")):
        embeddings = theirs + "embeddings."
        found[ours + "positional_embedding"] = state[embeddings + "position_embedding.weight"]
        if ours:
            found["visual.class_embedding"] = state[embeddings + "class_embedding"]
            found["visual.conv1.weight"] = state[embeddings + "patch_embedding.weight"]
        else:
            found["token_embedding.weight"] = state[embeddings + "token_embedding.weight"]
        norms = {"final_layer_norm": "ln_final"} if not ours else {"pre_layrnorm": "visual.ln_pre", "post_layernorm": "visual.ln_post"}
        for kind in ("weight", "bias"):
            found |= {f"{to}.{kind}": state[f"{theirs}{name}.{kind}"] for name, to in norms.items()}
            for i in range(2):
                layer, block = f"{theirs}encoder.layers.{i}.", f"{ours}transformer.resblocks.{i}."
                for name, to in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("self_attn.out_proj", "attn.out_proj")):
                    found[f"{block}{to}.{kind}"] = state[f"{layer}{name}.{kind}"]
                joined = [state[f"{layer}self_attn.{name}_proj.{kind}"] for name in "qkv"]
                found[f"{block}attn.in_proj_{kind}"] = torch.cat(joined)
    return found


def open_clip_layout(folder, source, model):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)
    shape = {
        "embed_dim": JOINT, "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": WIDTH // 3, "patch_size": PATCH},
        "text_cfg": {"context_length": TOKENS, "vocab_size": model.config.text_config.vocab_size, "width": TEXT_WIDTH, "heads": 2, "layers": 2},
    }  # fmt: skip
    write_json(folder / "open_clip_config.json", {"model_cfg": shape, "preprocess_cfg": {"mean": MEAN, "std": DEVIATION}})
    weights = {k: v.half().contiguous() for k, v in open_clip_names(load_file(source / "model.safetensors")).items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    twin = open_clip.CLIP(**shape)
    missing = set(twin.state_dict()) ^ set(weights) - {"attn_mask"}
    assert missing <= {"attn_mask"}, missing
    twin.load_state_dict({k: v.double() for k, v in weights.items()}, strict=False)
    twin.double().eval()
    pixels = normal(350, 2, 3, SIDE, SIDE)
    ids = torch.full((2, TOKENS), model.config.text_config.eos_token_id)
    ids[:, :4] = torch.tensor([[model.config.text_config.bos_token_id, 7, 11, 30], [model.config.text_config.bos_token_id, 70, 110, 301]])
    images, texts = twin.encode_image(pixels), twin.encode_text(ids)
    outputs = model(input_ids=ids, pixel_values=pixels)
    for ours, theirs in ((images, outputs.image_embeds), (texts, outputs.text_embeds)):
        ours = ours / ours.norm(dim=-1, keepdim=True)
        assert torch.allclose(ours, theirs, atol=1e-6), (ours - theirs).abs().max()


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    # sd1.ckpt has embeddings of 600 tokens.
    vocabulary.MERGES = 80
    tokens, merges = vocabulary.learn(prompts.PROMPTS)
    tokens = published_order(tokens)
    assert len(tokens) <= 600, len(tokens)
    (FOLDER / "open_clip").mkdir(parents=True)
    with torch.no_grad():
        stable_diffusion(FOLDER / "sd15", tokens, merges)
        model = clip(FOLDER / "clip", tokens, merges)
        open_clip_layout(FOLDER / "open_clip", FOLDER / "clip", model)
    for folder in sorted(FOLDER.iterdir()):
        print(f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())} bytes in {folder.name}/")


if __name__ == "__main__":
    main()
