"""Names and shapes of published models, for `convert --for` (trainer/src/command/convert/keys/).

The reference packages build each network without memory for its weights. The names in single files of Stable Diffusion are derived from
diffusers' networks, because the original package is unavailable, and checked with diffusers' own converter.
A line is a name and a shape. `{0-3,7}` stands for each of these numbers, `4|9` for either size, `?` after a name for an optional tensor, and
`NAME.*` for anything below a name.
"""

import pathlib
import re

import open_clip
import timm
import torch
import torchvision
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import BlipTextConfig, BlipTextModel, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "trainer" / "src" / "command" / "convert" / "keys"


def shapes(network, prefix=""):
    return {prefix + k: tuple(v.shape) for k, v in network.state_dict().items()}


def numbers(values):
    """{0-3,7}, or a single number."""
    runs = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return text if text.isdigit() else "{" + text + "}"


def cover(tuples):
    """Few products of sets that together equal the tuples."""
    if () in tuples:
        yield ()
        return
    tails = {}
    for first, *tail in tuples:
        tails.setdefault(first, set()).add(tuple(tail))
    firsts = {}
    for first, tail in tails.items():
        firsts.setdefault(frozenset(tail), []).append(first)
    for tail, heads in firsts.items():
        for rest in cover(tail):
            yield (numbers(heads), *rest)


def write(name, title, keys, optional=(), any_below=()):
    groups = {}
    for key, shape in keys.items():
        place = tuple(int(n) for n in re.findall(r"(?<=\.)\d+(?=\.)", f".{key}."))
        template = re.sub(r"(?<=\.)\d+(?=\.)", "#", f".{key}.")[1:-1]
        groups.setdefault((template, shape, key in optional), set()).add(place)
    lines = []
    for (template, shape, spare), places in groups.items():
        for place in cover(places):
            parts = iter(place)
            line = re.sub("#", lambda _: next(parts), template)
            lines.append(" ".join([line + "?" * spare, *map(str, shape)]))
    lines += [f"{prefix}.*?" for prefix in any_below]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.txt").write_text(f"# {title}\n" + "\n".join(lines) + "\n")
    count = sum(torch.Size(s).numel() if all(isinstance(n, int) for n in s) else 0 for k, s in keys.items() if k not in optional)
    print(f"{name}: {len(keys)} keys in {len(lines)} lines, {count} values that must be there")


def open_clip_model(name):
    return shapes(open_clip.create_model(name, pretrained=None, device="meta"))


def hugging_face_clip(width, heads, layers, vision_width, vision_heads, vision_layers, projection):
    config = CLIPConfig(
        text_config={"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads, "num_hidden_layers": layers},
        vision_config={"hidden_size": vision_width, "intermediate_size": 4 * vision_width, "num_attention_heads": vision_heads, "num_hidden_layers": vision_layers, "patch_size": 14, "image_size": 224},
        projection_dim=projection,
    )
    keys = shapes(CLIPModel(config))
    indices = {"text_model.embeddings.position_ids": (1, 77), "vision_model.embeddings.position_ids": (1, 257)}
    return {**keys, **indices}, tuple(indices)


def text_tower(width, heads, layers, projection=None):
    config = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_attention_heads=heads, num_hidden_layers=layers, projection_dim=projection or width)
    keys = shapes(CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config))
    keys = {k if k.startswith(("text_model.", "text_projection.")) else f"text_model.{k}": v for k, v in keys.items()}
    return {**keys, "text_model.embeddings.position_ids": (1, 77)}, ("text_model.embeddings.position_ids",)


UNET_1 = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
UNET_XL = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
}
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET_ENDS = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def original_unet(config):
    """The names of the first implementation, checked with the converter."""
    with torch.device("meta"):
        network = UNet2DConditionModel(**config)
    theirs = {}
    for key, shape in shapes(network).items():
        stem, last = key.rsplit(".", 1)
        if stem in UNET_ENDS:
            name = UNET_ENDS[stem]
        elif found := re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", stem):
            side, level, kind, i, rest = found.groups()
            level, i = int(level), int(i)
            first = 3 * level + (1 if side == "down" else 0)
            part = "input" if side == "down" else "output"
            if kind == "resnets":
                name = f"{part}_blocks.{first + i}.0.{RESNET[rest]}"
            elif kind == "attentions":
                name = f"{part}_blocks.{first + i}.1.{rest}"
            elif kind == "downsamplers":
                name = f"input_blocks.{first + 2}.0.op"
            else:
                has_attention = "CrossAttn" in config.get("up_block_types", ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)[level]
                name = f"output_blocks.{first + 2}.{2 if has_attention else 1}.conv"
        else:
            kind, i, rest = re.fullmatch(r"mid_block\.(\w+)\.(\d)\.(.+)", stem).groups()
            name = f"middle_block.{2 * int(i)}.{RESNET[rest]}" if kind == "resnets" else f"middle_block.1.{rest}"
        theirs[f"{name}.{last}"] = shape
    full = {f"model.diffusion_model.{k}": torch.empty(s, device="meta") for k, s in theirs.items()}
    back = convert_ldm_unet_checkpoint(full, dict(network.config))
    assert {k: tuple(v.shape) for k, v in back.items()} == shapes(network)
    return {k: (s[0], "4|8|9", *s[2:]) if k == "input_blocks.0.0.weight" else s for k, s in theirs.items()}


def original_vae(config=VAE):
    with torch.device("meta"):
        network = AutoencoderKL(**config)
    finest = len(config["block_out_channels"]) - 1
    theirs = {}
    for key, shape in shapes(network).items():
        name = key.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{finest - int(m[1])}.block", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{finest - int(m[1])}.upsample", name)
        if "mid_block.attentions.0." in name:
            for ours, other in VAE_ATTENTION.items():
                name = name.replace(f"mid_block.attentions.0.{ours}", f"mid.attn_1.{other}")
            if ".norm." not in name and name.endswith("weight"):
                shape = (*shape, 1, 1)
        theirs[name] = shape
    full = {f"first_stage_model.{k}": torch.empty(s) for k, s in theirs.items()}
    back = convert_ldm_vae_checkpoint(full, dict(network.config))
    assert {k: tuple(v.shape) for k, v in back.items()} == shapes(network)
    return theirs


def beneath(prefix, keys):
    return {f"{prefix}.{k}": v for k, v in keys.items()}


def main():
    torch.set_default_device("meta")
    write("open-clip-vit-h-14", "OpenCLIP ViT-H/14: HPSv2 v2.0 and v2.1, LAION laion2B-s32B-b79K", open_clip_model("ViT-H-14"))
    write("open-clip-vit-l-14", "CLIP ViT-L/14 under OpenCLIP's names", open_clip_model("ViT-L-14"))
    keys, optional = hugging_face_clip(1024, 16, 24, 1280, 16, 32, 1024)
    write("clip-vit-h-14", "CLIP ViT-H/14 under transformers' names: LAION, PickScore v1", keys, optional)
    keys, optional = hugging_face_clip(768, 12, 12, 1024, 16, 24, 768)
    write("clip-vit-l-14", "CLIP ViT-L/14 under transformers' names: OpenAI", keys, optional)

    layers = {0: (1024, 768), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}
    head = {f"layers.{i}.{k}": s[:n] for i, s in layers.items() for k, n in [("weight", 2), ("bias", 1)]}
    write("aesthetic", "LAION improved aesthetic predictor, sac+logos+ava1-l14-linearMSE", head)

    vision = timm.create_model("vit_large_patch16_224", num_classes=0)
    config = BlipTextConfig(vocab_size=30524, hidden_size=768, encoder_hidden_size=1024, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, max_position_embeddings=512, is_decoder=True)
    text = shapes(BlipTextModel(config, add_pooling_layer=False), "blip.text_encoder.")
    indices = {"blip.text_encoder.embeddings.position_ids": (1, 512)}
    text = {k: v for k, v in text.items() if k not in indices}
    ends = {"blip.vision_proj": (256, 1024), "blip.text_proj": (256, 768)}
    ends = {f"{k}.{p}": s[:n] for k, s in ends.items() for p, n in [("weight", 2), ("bias", 1)]}
    keys = {**shapes(vision, "blip.visual_encoder."), **text, **indices, **ends, **beneath("mlp", head)}
    write("image-reward", "ImageReward v1.0", keys, tuple(indices))

    inception = shapes(torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False))
    write("inception", "Inception v3 of pytorch-fid and torch-fidelity", inception, [k for k in inception if k.endswith("num_batches_tracked")])

    unet, vae = original_unet(UNET_1), original_vae()
    text, optional = text_tower(768, 12, 12)
    tables = ["betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar"]
    spare = {**dict.fromkeys(tables, (1000,)), "scale_factor": ()}
    keys = {**beneath("model.diffusion_model", unet), **beneath("first_stage_model", vae), **beneath("cond_stage_model.transformer", text), **spare}
    write("stable-diffusion-1", "Stable Diffusion 1.x in one file, also with the inputs of InstructPix2Pix and of inpainting", keys, [*spare, *(f"cond_stage_model.transformer.{k}" for k in optional)], ["model_ema"])

    unet = original_unet(UNET_XL)
    big = {k: v for k, v in open_clip_model("ViT-bigG-14").items() if not k.startswith("visual.")}
    keys = {**beneath("model.diffusion_model", unet), **beneath("first_stage_model", vae), **beneath("conditioner.embedders.0.transformer", text), **beneath("conditioner.embedders.1.model", big), "denoiser.sigmas": (1000,)}
    spare = ["denoiser.sigmas", "conditioner.embedders.1.model.logit_scale", *(f"conditioner.embedders.0.transformer.{k}" for k in optional)]
    write("stable-diffusion-xl", "Stable Diffusion XL in one file", keys, spare)

    for name, title, config in [("unet-1", "the UNet of Stable Diffusion 1.x", UNET_1), ("unet-xl", "the UNet of Stable Diffusion XL", UNET_XL)]:
        keys = shapes(UNet2DConditionModel(**config))
        keys["conv_in.weight"] = (320, "4|8|9", 3, 3)
        write(f"stable-diffusion-{name}", f"{title} under diffusers' names", keys)
    keys = shapes(AutoencoderKL(**VAE))
    write("stable-diffusion-vae", "the autoencoder of Stable Diffusion under diffusers' names", keys)
    old = {}
    for key, shape in keys.items():
        for new, name in OLD_ATTENTION.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        old[key] = shape
    write("stable-diffusion-vae-old", "the autoencoder of Stable Diffusion under diffusers' older names", old)
    write("stable-diffusion-text", "the text tower of Stable Diffusion 1.x, and the first of XL", text, optional)
    keys, optional = text_tower(1280, 20, 32, 1280)
    write("stable-diffusion-text-xl", "the second text tower of Stable Diffusion XL", keys, optional)


if __name__ == "__main__":
    main()
