"""Learns a small vocabulary in the format of CLIP's tokenizer from given texts, by byte-pair encoding."""

from collections import Counter

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
MERGES = 100


def byte_symbols():
    """The characters that stand for bytes, in CLIP's order: printable Latin-1 characters for themselves, the other bytes for characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


def merge(word, pair):
    merged, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


def learn(texts):
    """Ids by token, and merges by rank."""
    symbols = byte_symbols()
    words = []
    for word in " ".join(texts).lower().split():
        spelled = [symbols[b] for b in word.encode()]
        words.append(spelled[:-1] + [spelled[-1] + WORD_END])
    merges = []
    while len(merges) < MERGES:
        pairs = Counter(pair for word in words for pair in zip(word, word[1:]))
        pair = min(pairs, key=lambda p: (-pairs[p], p))
        words = [merge(word, pair) for word in words]
        merges.append(pair)
    tokens = list(symbols.values())
    tokens += [s + WORD_END for s in tokens] + [a + b for a, b in merges] + [START, END]
    # Two merges can make the same token.
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges
