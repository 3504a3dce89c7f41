"""Small reward models with random weights in the formats of the published files, and the results of the reference implementations on
images and prompts (crates/evaluation/tests/fixtures/rewards/). Images and vocabularies are those of resizers.py and texts.py: run these
first. See README.md.

HPSv2, CLIP score: open_clip's `CLIP` with the transforms of resizers.py. PickScore: transformers' `CLIPModel`. Aesthetics: the linear layers
of its author's script. ImageReward: the package's vit.py and med.py (image-reward 1.5, without its dependencies:
`pip install --no-deps image-reward==1.5`).
"""

import json
import math
import shutil
from pathlib import Path

import numpy
import torch
from open_clip import CLIP
from open_clip import tokenizer as open_clip_tokenizer
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

import blip
import resizers
import texts
import vocabulary

FIXTURES = Path(__file__).resolve().parent.parent / "crates" / "evaluation" / "tests" / "fixtures"
FOLDER = FIXTURES / "rewards"
BPE = FIXTURES / "texts" / "bpe.txt.gz"
SIDE, PATCH = 16, 4
PICTURES = ["square.png", "wide.png", "tall.png", "grey.png", "rgba.png", "as_it_is.png", "small.png"]
PROMPTS = [
    "a red circle on a blue background",
    "it\u2019s 2 dogs &amp; a caf\u00e9",
    "a red circle on a blue background",
    "The Quick Brown FOX",
    "",
    "((masterpiece)), x\u00b2 &lt;tag&gt; " + "the quick brown fox jumps " * 12,
    "[MASK] unaffable na\u00efve",
]


def normal(seed, *shape):
    values = numpy.random.Generator(numpy.random.PCG64(seed)).standard_normal(shape)
    return torch.from_numpy(values).half().double()


def settle(model, seed):
    """Weights that are exact in f16 and large enough that variants of GELU differ; returns the model in f64."""
    model.double().eval()
    with torch.no_grad():
        for i, (name, parameter) in enumerate(sorted(model.named_parameters())):
            noise = normal(1000 * seed + i, *parameter.shape)
            if name == "logit_scale":
                value = torch.tensor(math.log(90.0))
            elif "embedding" in name or "pos_embed" in name or "cls_token" in name:
                value = 0.5 * noise
            elif parameter.dim() > 1:
                value = 1.5 * noise / math.sqrt(parameter[0].numel())
            else:
                value = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
            parameter.copy_(value.half().double())
    return model


def image(name):
    return Image.open(FIXTURES / "preprocess" / name)


def openai_transform(picture):
    steps = [Resize(SIDE, interpolation=InterpolationMode.BICUBIC), CenterCrop(SIDE), lambda i: i.convert("RGB"), ToTensor(), Normalize(resizers.MEAN, resizers.DEVIATION)]
    return Compose(steps)(picture)


def hps_transform(picture):
    return resizers.hps(picture, antialias=False)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def open_clip_model(seed, text_width, text_heads, quick_gelu, vocabulary_size):
    model = CLIP(
        embed_dim=24,
        vision_cfg={"layers": 2, "width": 32, "head_width": 2, "patch_size": PATCH, "image_size": SIDE, "mlp_ratio": 3.0},
        text_cfg={"context_length": 77, "vocab_size": vocabulary_size, "width": text_width, "heads": text_heads, "layers": 2, "mlp_ratio": 3.0},
        quick_gelu=quick_gelu,
    )
    return settle(model, seed)


def hugging_face_model(seed, text_width, text_heads, activation, vocabulary_size):
    config = CLIPConfig(
        text_config={"hidden_size": text_width, "intermediate_size": 3 * text_width, "num_attention_heads": text_heads, "num_hidden_layers": 2, "vocab_size": vocabulary_size, "hidden_act": activation, "eos_token_id": vocabulary_size - 1, "bos_token_id": vocabulary_size - 2},
        vision_config={"hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 16, "num_hidden_layers": 2, "patch_size": PATCH, "image_size": SIDE, "hidden_act": activation},
        projection_dim=24,
    )
    return settle(CLIPModel(config), seed)


def halves(state):
    return {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}


def clip_features(model, pixels, ids):
    with torch.no_grad():
        return unit(model.encode_image(pixels.double())), unit(model.encode_text(ids))


def hugging_face_features(model, pixels, words):
    """The text tower in f32, because the mask of transformers 4 does not support f64."""
    pictures = unit(model.get_image_features(pixels.double()))
    return pictures, unit(model.float().get_text_features(**words)).double()


def image_reward(expected):
    vit, med = blip.modules()
    from transformers import BertConfig

    tokenizer = texts.bert(FIXTURES / "texts")
    vision = vit.VisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=32, depth=2, num_heads=16, mlp_ratio=3, use_grad_checkpointing=False, ckpt_layer=0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=12, intermediate_size=72, max_position_embeddings=48, hidden_act="gelu", layer_norm_eps=1e-12)
    config.encoder_width, config.add_cross_attention = 32, True
    # image-reward 1.5 has an attention of its own.
    config._attn_implementation = "eager"
    text = med.BertModel(config=config, add_pooling_layer=False)
    head = torch.nn.ModuleDict({"layers": torch.nn.Sequential(torch.nn.Linear(24, 12), torch.nn.Dropout(0.2), torch.nn.Linear(12, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 6), torch.nn.Dropout(0.1), torch.nn.Linear(6, 4), torch.nn.Linear(4, 1))})
    spare = torch.nn.ModuleDict({"vision_proj": torch.nn.Linear(32, 8), "text_proj": torch.nn.Linear(24, 8)})
    for i, module in enumerate((vision, text, head, spare)):
        settle(module, 50 + i)
    state = blip.state_of(vision, text, head["layers"]) | {f"blip.{k}": v for k, v in spare.state_dict().items()}
    torch.save(halves(state), FOLDER / "ImageReward.pt")
    features, rewards = [], []
    with torch.no_grad():
        for name, prompt in zip(PICTURES, PROMPTS):
            seen = vision(openai_transform(image(name)).double()[None])
            words = tokenizer(prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
            mask = torch.ones(seen.shape[:-1], dtype=torch.long)
            states = text(words.input_ids, attention_mask=words.attention_mask, encoder_hidden_states=seen, encoder_attention_mask=mask, return_dict=True).last_hidden_state
            features.append(states[0, 0])
            rewards.append((head["layers"](states[:, 0])[0, 0] - 0.16717362830052426) / 1.0333394966054072)
    expected["image_reward.features"], expected["image_reward.scores"] = torch.stack(features), torch.stack(rewards)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "vocabulary").mkdir(parents=True)
    torch.set_num_threads(1)
    open_clip, openai = open_clip_tokenizer.SimpleTokenizer(str(BPE)), texts.OpenAi(str(BPE))
    size = open_clip.vocab_size
    names = {k: v for k, v in open_clip.encoder.items() if not k.endswith("of_text>")}
    names |= {vocabulary.START: size - 2, vocabulary.END: size - 1}
    (FOLDER / "vocabulary" / "vocab.json").write_text(json.dumps(names))
    import gzip

    merges = gzip.open(BPE).read().decode().split("\n")[1:]
    (FOLDER / "vocabulary" / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    fast = CLIPTokenizerFast(vocab_file=str(FOLDER / "vocabulary" / "vocab.json"), merges_file=str(FOLDER / "vocabulary" / "merges.txt"), unk_token=vocabulary.END, model_max_length=77)
    pictures = [image(name) for name in PICTURES]
    hps_pixels = torch.stack([hps_transform(p) for p in pictures])
    openai_pixels = torch.stack([openai_transform(p) for p in pictures])
    expected = {}

    def cosines(name, features, scale):
        expected[f"{name}.features"] = torch.cat(features, 1)
        expected[f"{name}.scores"] = scale * (features[0] * features[1]).sum(1)

    model = open_clip_model(1, 32, 16, False, size)
    torch.save({"epoch": 3, "name": "HPS", "state_dict": halves(model.state_dict())}, FOLDER / "HPS_v2_compressed.pt")
    cosines("hps", clip_features(model, hps_pixels, open_clip(PROMPTS)), 100)

    model = open_clip_model(2, 32, 16, False, size)
    save_file(halves(model.state_dict()), FOLDER / "open_clip_model.safetensors")
    cosines("clip_score_h14", clip_features(model, hps_pixels, open_clip(PROMPTS)), 1)

    model = hugging_face_model(3, 32, 16, "gelu", size)
    save_file(halves(model.state_dict()), FOLDER / "pick_score.safetensors")
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    pixels = processor(pictures, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    words = fast(PROMPTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        pair = hugging_face_features(model, pixels, words)
    cosines("pick_score", pair, 100)

    model = hugging_face_model(4, 24, 12, "quick_gelu", size)
    state = halves(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(state, FOLDER / "openai_vit_l_14.bin")
    ids = openai(PROMPTS)
    # The package pads with 0 and pools at the largest id, as transformers' model does with a mask without padding.
    with torch.no_grad():
        pair = hugging_face_features(model, openai_pixels, {"input_ids": ids})
    cosines("clip_score_l14", pair, 1)

    head = torch.nn.Sequential(torch.nn.Linear(24, 12), torch.nn.Dropout(0.2), torch.nn.Linear(12, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 6), torch.nn.Dropout(0.1), torch.nn.Linear(6, 4), torch.nn.Linear(4, 1))
    settle(head, 5)
    torch.save({f"layers.{k}": v.float() for k, v in head.state_dict().items()}, FOLDER / "sac+logos+ava1-l14-linearMSE.pth")
    with torch.no_grad():
        expected["aesthetic.features"], expected["aesthetic.scores"] = pair[0], head(pair[0])[:, 0]

    image_reward(expected)
    save_file({k: v.float().contiguous() for k, v in expected.items()}, FOLDER / "expected.safetensors")
    (FOLDER / "expected.json").write_text(json.dumps({"pictures": PICTURES, "prompts": PROMPTS}, indent=1) + "\n")
    for name, value in expected.items():
        if name.endswith("scores"):
            print(name, [round(float(v), 4) for v in value])


if __name__ == "__main__":
    main()
