"""Says what there is to say about a text: the one it is given, or a file that it was granted."""

import re
from collections import Counter

import rumi

WORDS_A_MINUTE = 200


def run(args):
    text = args["text"] if "text" in args else rumi.read_text(args["file"])
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)
    counted = Counter(word.lower() for word in words)
    # By number, then by the alphabet, so that the same text has the same answer.
    ranking = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return {
        "characters": len(text),
        "lines": len(text.splitlines()),
        "sentences": len(re.findall(r"[.!?…]+(?=\s|$)", text)),
        "words": len(words),
        "different_words": len(counted),
        "longest_word": max(words, key=len, default=""),
        "frequent": [{"word": word, "times": times} for word, times in ranking[: args.get("top", 5)]],
        "reading_seconds": round(len(words) * 60 / WORDS_A_MINUTE),
    }
