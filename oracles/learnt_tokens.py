"""Fixture of tokenizers with added tokens: ids by transformers' CLIPTokenizer for every way in which folders state such tokens.

Also a folder that transformers 5 has saved, with tokenizer.json instead of vocab.json and merges.txt. See README.md.
"""

import json
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

from diffusion import FIXTURES, write_json

SOURCE = FIXTURES / "model" / "tokenizer"
FOLDER = FIXTURES / "learnt_tokens"
PROMPTS = [
    "a <cat-toy> on red",
    "a<cat-toy>on red",
    "A <CAT-TOY> on red",
    "<cat-toy><cat-toy> <dog>",
    "  <cat-toy>  ",
    "a  <dog>  b<dog>b",
    "<|startoftext|> a <|ENDOFTEXT|>",
    "sks sksa asks SKS, sks",
    "< cat - toy >",
]


def details(content, **changes):
    flags = {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": False}
    return flags | changes


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    vocabulary = json.loads((SOURCE / "vocab.json").read_text())
    end = len(vocabulary)
    config = json.loads((SOURCE / "tokenizer_config.json").read_text())
    marks = {
        str(vocabulary["<|startoftext|>"]): details("<|startoftext|>", special=True),
        str(vocabulary["<|endoftext|>"]): details("<|endoftext|>", special=True, normalized=False),
    }
    listed = lambda *tokens: config | {
        "added_tokens_decoder": marks | {str(end + i): token for i, token in enumerate(tokens)}
    }
    folders = [
        {"added_tokens.json": {"<cat-toy>": end}},
        {"added_tokens.json": {"<dog>": end + 1, "<cat-toy>": end}, "tokenizer_config.json": config},
        {"tokenizer_config.json": listed(details("<cat-toy>"))},
        {"tokenizer_config.json": listed(details("<cat-toy>", special=True, normalized=False))},
        {"tokenizer_config.json": listed(details("<cat-toy>", lstrip=True), details("<dog>", rstrip=True))},
        {"tokenizer_config.json": listed(details("<cat-toy>", lstrip=True, rstrip=True), details("sks", single_word=True))},
        {"tokenizer_config.json": listed(details("SKS", normalized=False), details("<cat-toy>", single_word=True))},
        # A list in the config has precedence.
        {"tokenizer_config.json": listed(details("<cat-toy>")), "added_tokens.json": {"<dog>": end}},
        {
            "added_tokens.json": {"<cat-toy>": end},
            "special_tokens_map.json": {
                "bos_token": details("<|startoftext|>"),
                "eos_token": details("<|endoftext|>"),
                "pad_token": "!",
                "unk_token": details("<|endoftext|>"),
            },
        },
    ]
    cases = []
    with tempfile.TemporaryDirectory() as scratch:
        def ids(folder):
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            encode = lambda prompt: tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
            return [{"prompt": prompt, "ids": encode(prompt)} for prompt in PROMPTS]

        for number, files in enumerate(folders):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(SOURCE / name, folder)
            for name, content in files.items():
                (folder / name).write_text(json.dumps(content))
            cases.append({"files": files, "prompts": ids(folder)})
        # As transformers 5 saves it.
        tokenizer = CLIPTokenizer.from_pretrained(SOURCE)
        tokenizer.add_tokens(["<cat-toy>"])
        saved = Path(scratch) / "saved"
        tokenizer.save_pretrained(saved)
        names = sorted(path.name for path in saved.iterdir())
        assert names == ["tokenizer.json", "tokenizer_config.json"], names
        for name in names:
            content = json.loads((saved / name).read_text())
            (FOLDER / name).write_text(json.dumps(content, ensure_ascii=False) + "\n")
        write_json(FOLDER / "saved.json", ids(saved))
    write_json(FOLDER / "cases.json", cases)
    print(f"{sum(f.stat().st_size for f in FOLDER.iterdir())} bytes under {FOLDER.name}/")


if __name__ == "__main__":
    main()
