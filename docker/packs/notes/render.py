"""Renders a Markdown note, with an optional YAML header, as an HTML page."""

import html
import posixpath
import re

import yaml
from markdown_it import MarkdownIt

import rumi

HEADER = re.compile(r"\A---\n(?P<header>.*?\n)---\n(?P<body>.*)\Z", re.DOTALL)

PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
</head>
<body>
{body}</body>
</html>
"""


def run(args):
    """Renders the note to a file, or returns the page."""
    text = args["markdown"] if "markdown" in args else rumi.read_text(args["note"])
    header, body = split(text.replace("\r\n", "\n"))
    # Raw HTML in a note stays text, so that a note cannot bring a script into the page.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(body)
    fallback = posixpath.splitext(posixpath.basename(args.get("note", "")))[0]
    title = str(header.get("title") or first_heading(tokens) or fallback or "Untitled")
    page = PAGE.format(
        language=html.escape(str(header.get("language", "en"))),
        title=html.escape(title),
        body=parser.render(body),
    )
    result = {
        "title": title,
        "tags": tags(header.get("tags")),
        "headings": sum(token.type == "heading_open" for token in tokens),
        # Says whether the package's C extension came along.
        "libyaml": yaml.__with_libyaml__,
    }
    if "page" in args:
        result["bytes"] = rumi.write_file(args["page"], page)
    else:
        result["page"] = page
    return result


def split(text):
    """Returns the header as a dict, empty where there is none, and the rest of the note."""
    match = HEADER.match(text)
    if match is None:
        return {}, text
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    header = yaml.load(match["header"], Loader=loader)
    if header is None:
        return {}, match["body"]
    if not isinstance(header, dict):
        raise ValueError("the header of the note must be `key: value` lines")
    return header, match["body"]


def tags(value):
    """Returns tags as a list of strings, also where the note has only one or none."""
    if value is None:
        return []
    return [str(tag) for tag in (value if isinstance(value, list) else [value])]


def first_heading(tokens):
    """Returns the text of the first heading; None where there is none."""
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            return tokens[index + 1].content
    return None
