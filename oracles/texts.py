"""Texts cleaned and encoded by ftfy and by the tokenizers of OpenCLIP, OpenAI and BERT, with small vocabularies
(crates/evaluation/tests/fixtures/texts/). See README.md.

    texts.py PartiPrompts.tsv                      writes the fixture, with the prompts of the file that are not plain
    texts.py compare PartiPrompts.tsv VOCAB.gz     compares our tokenizers (cargo run --example token_ids) with the packages on all
                                                   prompts and 11,000 random texts, with the whole vocabulary of CLIP and a small
                                                   one of BERT

PartiPrompts.tsv is that of google-research/parti, Apache-2.0.
"""

import csv
import gzip
import html
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ftfy
import ftfy.bad_codecs  # noqa: F401
from open_clip import tokenizer as open_clip_tokenizer
from transformers import CLIPTokenizerFast

import blip
import prompts
import vocabulary

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates" / "evaluation" / "tests" / "fixtures" / "texts"
ENCODINGS = ["latin-1", "windows-1252", "windows-1251", "macroman", "cp437", "iso-8859-2", "windows-1250", "windows-1253", "windows-1254", "windows-1257"]
SLOPPY = ["sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250"]
NASTY = [
    "&lt;b&gt; x",
    "&amp;lt; y",
    "&EACUTE;t&eacute; P&EACUTE;REZ BUNDESSTRA&SZLIG;E &nTILDE;",
    "&#233; &#xe9; &#x80; &#1; &#59; &notit; &copy 2 &ampx; &#55296; &#99999999; &#x; &#; &;",
    "&semi; &ampsemi; &AMP; &LT;&gtx &hellip; &hellipx &NotEqualTilde; &nGt;",
    "<tag> &lt;kept&gt;\nand below &lt;also&gt;",
    "&lt;gone&gt;\n<tag> &lt;kept&gt;\n&lt;kept&gt;",
    "a \x1b[36;44mhello\x1b[0m",
    "\x9d c1 \x85 \x93quote\x94",
    "\u00bd \ufb01 \ufb02 \u0133 \u01c4 \u0149 \ufb05",
    "\uff26\uff55\uff4c\uff4c\u3000width \uff76\uff85 \uffe6",
    "\u2018a\u2019 \u201cb\u201d \u201bc\u201f \u2032 \u2033 \u02bc",
    "line\r\nbreak\u2028x\u2029y\u0085z\x0bw\x0cv",
    "voil\u00c3 le travail",
    "(\u00e0 gauche) \u00c3\u00a9t\u00c3\u00a9",
    "\u00e2\u20ac\u0153quote\u00e2\u20ac\x9d \u00e2\u20ac\u2122 \u00c2\u00a310",
    "\u00e2\u20ac\u0153 like this \u00e2\u20ac\ufffd",
    "\ufffd\u00ef\u00bf\u00bd x I\u00e2\u20acve",
    "\u00c3\xa0 perturber \u00c3 quele \u00c3 s x",
    "\u206a\ufeffx\ufff9y\ufffcz",
    "\xa0x\xa0y",
    "e&#769;te e\u0301te",
    "\u0130&#304;X \u03a3\u03a3 A\u03a3",
    "'\u017f '\u017ft 'S 'T 'RE",
    "<start_of_text> a <END_OF_TEXT> b <|startoftext|> <|endoftext|>",
    "[CLS] a [MASK] b [ENC] [DEC] [enc] [SEP] [PAD] [UNK]",
    "na\u00efve caf\u00e9 \u4e00\u53ea\u732b \u2019s don't-stop! unaffable zzz\u00df",
    "y" * 120,
    "\u00ed\u00a0\u00bd\u00ed\u00b8\u0080 cesu \u00c0\u0080",
]
REPAIRED = ["l\u2019humanit\u00e9 sch\u00f6n", "\u00dcberm\u00e4\u00dfig \u2014 na\u00efve", "caf\u00e9 \u201cbar\u201d", "\u4f60\u597d", "\u043f\u0440\u0438\u0432\u0435\u0442", "\U0001f600 fun", "\u20ac100", "\u3042\u3044"]


def mojibake():
    """UTF-8 decoded in another encoding."""
    for text in REPAIRED:
        data = text.encode()
        for encoding in ENCODINGS:
            try:
                yield data.decode(encoding)
            except UnicodeDecodeError:
                pass
        for encoding in SLOPPY:
            once = data.decode(encoding)
            yield once
            yield once.encode().decode(encoding)


def parti(file):
    with open(file, newline="") as rows:
        return [row["Prompt"] for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)]


def is_plain(prompt):
    return prompt.isascii() and prompt == " ".join(prompt.split()) and not any(c in prompt for c in '&<>#"`_*@')


class OpenAi(open_clip_tokenizer.SimpleTokenizer):
    """OpenAI's package has other names for the special tokens."""

    def __init__(self, path):
        super().__init__(path)
        import regex

        for ours, theirs in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
            self.encoder[theirs] = self.encoder.pop(ours)
            self.cache[theirs] = self.cache.pop(ours) and theirs
        pattern = self.pat.pattern.replace("<start_of_text>", r"<\|startoftext\|>").replace("<end_of_text>", r"<\|endoftext\|>")
        self.pat = regex.compile(pattern, regex.IGNORECASE)


def trimmed(tokenizer, text):
    """Start token, tokens and end token, truncated as in the packages."""
    tokens = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
    if len(tokens) > 77:
        tokens = [*tokens[:76], tokenizer.eot_token_id]
    padded = tokenizer([text])[0].tolist()
    assert padded == tokens + [0] * (77 - len(tokens)), text
    return tokens


def bert_vocabulary(texts):
    characters = sorted({c for text in texts for c in ftfy.fix_text(text).lower() if not c.isspace()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [c for c in characters if len(c) == 1 and ord(c) < 0x250 or "\u4e00" <= c <= "\u9fff"]
    pieces += ["##" + c for c in characters if ord(c) < 0x250 and c.isalnum()]
    pieces += ["the", "a", "of", "##ing", "##ed", "un", "##aff", "##able", "red", "circle", "on", "cafe", "naive"]
    return list(dict.fromkeys(pieces))


def bert(folder):
    return blip.tokenizer(folder / "vocab.txt")


def fixture(parti_file):
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    chosen = [p for p in parti(parti_file) if not is_plain(p)]
    texts = [*prompts.PROMPTS, *NASTY, *chosen, *mojibake()]
    _, merges = vocabulary.learn([*prompts.PROMPTS[:8], *chosen])
    text = "\n".join(["version", *(" ".join(m) for m in merges)])
    (FOLDER / "bpe.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (FOLDER / "vocab.txt").write_text("\n".join(bert_vocabulary(chosen + NASTY)) + "\n")
    open_clip, openai, word_pieces = open_clip_tokenizer.SimpleTokenizer(str(FOLDER / "bpe.txt.gz")), OpenAi(str(FOLDER / "bpe.txt.gz")), bert(FOLDER)
    cases = []
    for text in dict.fromkeys(texts):
        cases.append({
            "text": text,
            "fixed": ftfy.fix_text(text),
            "clean": open_clip.clean_fn(text),
            "open_clip": trimmed(open_clip, text),
            "openai": trimmed(openai, text),
            "bert": word_pieces(text, truncation=True, max_length=35)["input_ids"],
        })
    notice = "Texts that begin at 'parti' are from google-research/parti's PartiPrompts.tsv, Apache-2.0."
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    (FOLDER / "expected.json").write_text(f'{{"notice": {json.dumps(notice)}, "parti": {len(set(prompts.PROMPTS + NASTY))}, "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} texts, {len(chosen)} of them Parti's")


def randoms():
    generator = random.Random(0)
    alphabet = [chr(c) for c in range(0x20, 0x17F)] + list("\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u2122\u20ac\u0160\u0161\u017d\u017e\u0152\u0153\u0178\u2039\u203a\u201a\u201e\u2020\u2021\u2022\u2030\u02c6\u02dc\u0192 \ufb00\ufb01\ufb02\ufb03\ufb04\u251c\u2310\u0393\u00c7\u00f4")
    fragments = ["\u00c3\u00a9", "\u00e2\u20ac\u2122", "\u00e2\u20ac\u0153", "\u00c3 ", "\u00c2", "\u00e5\u00ad", "\u00d0\u00bf", "\u00d1\u20ac", "\u00ef\u00ac", "\u00e9", "a", "the ", "\xa0", "\u201c", "\u00c5\u00a1", "\u00c4", "\u2122", "&amp;", "\u00e9\u00a9", "&lt", "<", "&#39;", "\n"]
    for length in (3, 6, 12, 30):
        for _ in range(1500):
            yield "".join(generator.choice(alphabet) for _ in range(length))
    for _ in range(5000):
        yield "".join(generator.choice(fragments) for _ in range(generator.randint(2, 8)))


def compare(parti_file, bpe):
    """Compares our tokenizers with the packages, with CLIP's own vocabulary."""
    all_prompts = parti(parti_file)
    texts = [*all_prompts, *prompts.PROMPTS, *NASTY, *mojibake(), *randoms()]
    texts = [t for t in texts if t.encode(errors="ignore").decode() == t]
    open_clip, openai, word_pieces = open_clip_tokenizer.SimpleTokenizer(bpe), OpenAi(bpe), bert(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        lines = gzip.open(bpe).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n")
        names = {k: v for k, v in open_clip.encoder.items() if not k.endswith("of_text>")}
        names |= {vocabulary.START: 49406, vocabulary.END: 49407}
        (folder / "vocab.json").write_text(json.dumps(names))
        fast = CLIPTokenizerFast(vocab_file=str(folder / "vocab.json"), merges_file=str(folder / "merges.txt"), unk_token=vocabulary.END, model_max_length=77)
        for name, where, theirs in [
            ("open_clip", bpe, lambda t: trimmed(open_clip, t)),
            ("open_clip", folder, lambda t: trimmed(open_clip, t)),
            ("openai", bpe, lambda t: trimmed(openai, t)),
            ("fast", folder, lambda t: fast(t, truncation=True)["input_ids"]),
            # With the small vocabulary of the fixture: no package contains BERT's own.
            ("bert", FOLDER / "vocab.txt", lambda t: word_pieces(t, truncation=True, max_length=35)["input_ids"]),
        ]:
            command = ["cargo", "run", "-q", "-p", "evaluation", "--example", "token_ids", "--", name, str(where)]
            answer = subprocess.run(command, cwd=ROOT, input=json.dumps(texts).encode(), capture_output=True, check=True, env=os.environ)
            ours = json.loads(answer.stdout)
            wrong = [(t, o, theirs(t)) for t, o in zip(texts, ours, strict=True) if o != theirs(t)]
            among = sum(t in set(all_prompts) for t, _, _ in wrong)
            print(f"{name} ({'folder' if where is folder else 'file'}): {len(texts) - len(wrong)} of {len(texts)} texts the same; Parti's: {len(all_prompts) - among} of {len(all_prompts)}")
            for text, mine, right in wrong[:5]:
                print(f"  {text!r}\n    ours   {mine}\n    theirs {right}\n    clean {html.unescape(html.unescape(ftfy.fix_text(text)))!r}")


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(*sys.argv[2:])
    else:
        fixture(sys.argv[1])
