"""Reads the text documents below a directory and writes a report about them.

Nothing here handles a refusal: `rumi.Denied` reaches the caller, with the reason code
and the id of the audit record.
"""

import posixpath
import re
from collections import Counter

import rumi

# What counts as a text document.
SUFFIXES = (".csv", ".json", ".log", ".md", ".rst", ".txt")

# Of a longer document only the beginning is read, which the report says.
READ_BYTES = 1024 * 1024

# A tree without end must not keep the tool busy for ever.
MOST_DOCUMENTS = 1000

EXCERPT_CHARACTERS = 160
FREQUENT_WORDS = 5

# Words that say nothing about what a text is about.
COMMON = frozenset(
    """
    about after all also and any are because been but can could did does for from had has
    have her his how into its may more most not now one only other our out over should some
    such than that the their them then there these they this those through under was were
    what when where which while who will with would you your
    """.split()
)


def run(args):
    """Writes the report and returns its figures."""
    source, report = args["source"].rstrip("/") or "/", args["report"]
    documents, skipped = [], []
    complete = True
    for path in walk(source):
        if path == report:
            continue
        if len(documents) == MOST_DOCUMENTS:
            complete = False
            break
        data = rumi.read_file(path, length=READ_BYTES + 1)
        summary = summarise(path[len(source) :].lstrip("/"), data)
        if summary is None:
            skipped.append(path)
        else:
            documents.append(summary)
    rumi.write_file(report, render(source, documents, skipped, complete))
    return {
        "documents": len(documents),
        "words": sum(document["words"] for document in documents),
        "skipped": skipped,
        "complete": complete,
        "report": report,
    }


def walk(directory):
    """Yields the paths of the documents below `directory`, sorted; links are not followed."""
    for entry in sorted(rumi.list_dir(directory)):
        path = posixpath.join(directory, entry.name)
        if entry.kind == "directory":
            yield from walk(path)
        elif entry.kind == "file" and entry.name.lower().endswith(SUFFIXES):
            yield path


def summarise(name, data):
    """Returns what there is to say about a document; None when it is not text."""
    cut = len(data) > READ_BYTES
    try:
        # The cut may go through a character.
        text = data[:READ_BYTES].decode("utf-8", "ignore" if cut else "strict")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)
    telling = Counter(word.lower() for word in words if len(word) > 2 and word.lower() not in COMMON)
    return {
        "name": name,
        "title": lines[0].lstrip("#=- ")[:EXCERPT_CHARACTERS] if lines else "",
        "excerpt": shorten(" ".join(lines[1:])),
        "lines": len(text.splitlines()),
        "words": len(words),
        # By number, then by the alphabet, so that the same documents make the same report.
        "frequent": sorted(telling, key=lambda word: (-telling[word], word))[:FREQUENT_WORDS],
        "cut": cut,
    }


def shorten(text):
    """Returns the beginning of a text, cut between words."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return text[:EXCERPT_CHARACTERS].rsplit(" ", 1)[0] + " …"


def render(source, documents, skipped, complete):
    """Returns the report as Markdown."""
    words = sum(document["words"] for document in documents)
    parts = [f"# Documents below {source}\n", f"{count(len(documents), 'document')}, {count(words, 'word')}.\n"]
    if not complete:
        parts.append(f"There are more; only the first {MOST_DOCUMENTS} were read.\n")
    for document in documents:
        parts.append(f"## {document['name']}\n")
        if document["title"]:
            parts.append(f"**{document['title']}**\n")
        if document["excerpt"]:
            parts.append(f"{document['excerpt']}\n")
        figures = f"{count(document['words'], 'word')}, {count(document['lines'], 'line')}"
        if document["cut"]:
            figures += ", read to the first MiB only"
        parts.append(f"- {figures}")
        if document["frequent"]:
            parts.append(f"- mostly about: {', '.join(document['frequent'])}")
        parts.append("")
    if skipped:
        parts.append("## Not text\n")
        parts.extend(f"- {path}" for path in skipped)
        parts.append("")
    return "\n".join(parts)


def count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
