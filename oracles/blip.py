"""The two networks of image-reward 1.5, `vit` and `med`, made to run with current packages. The package's `__init__` and dependencies are
from 2023 and import unneeded modules: install it with `pip install --no-deps image-reward==1.5`.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def modules():
    """Imports `blip.vit` and `blip.med`."""
    found = importlib.util.find_spec("ImageReward")
    assert found, "pip install --no-deps image-reward==1.5"
    place = Path(found.submodule_search_locations[0]) / "models" / "BLIP"
    import transformers.modeling_utils as modeling
    import transformers.pytorch_utils as utilities

    for name in ("apply_chunking_to_forward", "find_pruneable_heads_and_indices", "prune_linear_layer"):
        if not hasattr(modeling, name):
            setattr(modeling, name, getattr(utilities, name))
    if "fairscale" not in sys.modules:
        for name in ("fairscale", "fairscale.nn", "fairscale.nn.checkpoint", "fairscale.nn.checkpoint.checkpoint_activations"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["fairscale.nn.checkpoint.checkpoint_activations"].checkpoint_wrapper = lambda module, *_, **__: module
    # Names of timm 0.6 that vit.py imports for loading other files.
    import timm.models._manipulate as manipulate
    import timm.models.layers  # noqa: F401
    import timm.models.helpers as helpers

    for name in ("named_apply", "adapt_input_conv"):
        if not hasattr(helpers, name):
            setattr(helpers, name, getattr(manipulate, name))
    package = types.ModuleType("image_reward_blip")
    package.__path__ = [str(place)]
    sys.modules["image_reward_blip"] = package
    return importlib.import_module("image_reward_blip.vit"), importlib.import_module("image_reward_blip.med")


def tokenizer(vocabulary):
    """BERT's tokenizer, set up as by BLIP's `init_tokenizer`."""
    from transformers import BertTokenizer

    made = BertTokenizer(str(vocabulary))
    made.add_special_tokens({"bos_token": "[DEC]"})
    made.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    return made


def full_size():
    """The image tower and the text encoder of ImageReward v1.0 at full size, and the layers of its head."""
    import torch
    from transformers import BertConfig

    vit, med = modules()
    vision = vit.VisionTransformer(
        img_size=224, patch_size=16, embed_dim=1024, depth=24, num_heads=16, use_grad_checkpointing=False, ckpt_layer=0
    )
    config = BertConfig(vocab_size=30524, hidden_act="gelu", layer_norm_eps=1e-12)
    config.encoder_width, config.add_cross_attention = 1024, True
    # image-reward 1.5 has an attention of its own.
    config._attn_implementation = "eager"
    text = med.BertModel(config=config, add_pooling_layer=False)
    linear, dropout = torch.nn.Linear, torch.nn.Dropout
    head = torch.nn.Sequential(
        linear(768, 1024), dropout(0.2), linear(1024, 128), dropout(0.2), linear(128, 64), dropout(0.1), linear(64, 16), linear(16, 1)
    )
    return vision.eval(), text.eval(), head.eval()


def state_of(vision, text, head):
    """The state with the tensor names of the published file."""
    import torch

    state = {f"blip.visual_encoder.{k}": v for k, v in vision.state_dict().items()}
    state |= {f"blip.text_encoder.{k}": v for k, v in text.state_dict().items()}
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(text.config.max_position_embeddings)[None]
    return state | {f"mlp.layers.{k}": v for k, v in head.state_dict().items()}


def stand_in_vocabulary():
    """As many pieces as bert-base-uncased has: letters, alone and as continuations, and unused pieces."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ":", *LETTERS, *("##" + c for c in LETTERS)]
    return pieces + [f"[unused{i}]" for i in range(30522 - len(pieces))]
