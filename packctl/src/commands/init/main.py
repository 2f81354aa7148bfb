"""The tool PACK_ID:tool:hello: greets, and counts the words of a file."""

import rumi


def run(args):
    """Answers one call; what it returns becomes the `data` of the result."""
    answer = {"greeting": f"Hello, {args.get('name', 'world')}!"}
    if "file" in args:
        # The container has no files of the host: the broker reads this one, if
        # the grant allows it. Otherwise `rumi.Denied` ends the call.
        text = rumi.read_file(args["file"]).decode("utf-8", "replace")
        answer["words"] = len(text.split())
    return answer
