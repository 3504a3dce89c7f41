"""Writes the table of crates/evaluation/src/text/ftfy: ftfy's two regular expressions, rewritten for Rust, and the single-byte encodings
that it tries. ftfy is (c) Robyn Speer, Apache-2.0. See README.md.
"""

from pathlib import Path

import ftfy.bad_codecs  # noqa: F401  (registers the sloppy encodings)
from ftfy import badness, chardata

FILE = Path(__file__).resolve().parent.parent / "crates" / "evaluation" / "src" / "text" / "ftfy" / "tables.txt"
# Python's definitions of word characters and spaces, which differ from those of Rust's regular expressions.
CLASSES = {"\\w": r"[\p{L}\p{N}_]", "\\s": r"[\s\x1c-\x1f]"}


def plain(pattern):
    """A verbose pattern without comments and formatting."""
    out, inside, i = [], False, 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            pair = pattern[i : i + 2]
            # \xa0 stays as it is; classes are spelled out.
            out.append(CLASSES.get(pair, pair))
            i += 2
            continue
        if not inside and c == "#":
            i = pattern.index("\n", i)
            continue
        if not inside and c in " \n\t":
            i += 1
            continue
        if inside and c == "[":
            out.append("\\")
        inside = (inside or c == "[") and c != "]"
        out.append(c)
        i += 1
    return "".join(out)


def escaped(text):
    return "".join(c if 0x20 <= ord(c) < 0x7F and c not in "\\" else f"\\u{{{ord(c):x}}}" for c in text)


def pattern(text):
    return "".join(c if 0x20 <= ord(c) < 0x7F else f"\\x{{{ord(c):x}}}" for c in plain(text))


def main():
    lines = ["# Made by oracles/ftfy_tables.py from ftfy, (c) Robyn Speer, Apache-2.0."]
    lines.append("badness " + pattern(badness.BADNESS_RE.pattern))
    clues = chardata.UTF8_CLUES
    first = f"(?:[{clues['utf8_first_of_2']}][{clues['utf8_continuation']}]|[{clues['utf8_first_of_3']}][{clues['utf8_continuation']}]{{2}}|[{clues['utf8_first_of_4']}][{clues['utf8_continuation']}]{{3}})+"
    spelled = "".join(c if 0x20 <= ord(c) < 0x7F else f"\\x{{{ord(c):x}}}" for c in first)
    lines.append("detector " + spelled)
    strict = clues["utf8_continuation_strict"]
    lines.append("strict [" + "".join(c if 0x20 <= ord(c) < 0x7F else f"\\x{{{ord(c):x}}}" for c in strict) + "]")
    for encoding in chardata.CHARMAP_ENCODINGS:
        table = bytes(range(0x80, 0x100)).decode(encoding)
        lines.append(f"{encoding} " + " ".join(f"{ord(c):x}" for c in table))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
