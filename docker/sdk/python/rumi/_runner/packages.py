"""What `site` does at the start of Python, in two parts.

The zygote does all that only looks at directories. What runs code of the pack (`.pth`
files and `sitecustomize`) is kept for the spare, after it was told to load the tool.
"""

import importlib.util
import os
import site

# A longer file is not looked through.
LARGE = 65536


class Packages:
    """The directories of installed packages are on `sys.path`; `finish` runs what they bring."""

    def __init__(self):
        # (directory, name, the paths that `site` knew by then)
        self._files = []
        self._customize = site.execsitecustomize
        self._run_file = site.addpackage
        site.addpackage = self._add
        site.execsitecustomize = lambda: None
        try:
            site.main()
        finally:
            site.addpackage = self._run_file
            site.execsitecustomize = self._customize
        # Finding a module of no package reads directories and runs nothing.
        self._has_customize = importlib.util.find_spec("sitecustomize") is not None

    def _add(self, folder, name, known_paths):
        if _runs_nothing(os.path.join(folder, name)):
            return self._run_file(folder, name, known_paths)
        self._files.append((folder, name, known_paths))
        return known_paths

    def finish(self):
        for folder, name, known_paths in self._files:
            self._run_file(folder, name, known_paths)
        if self._has_customize:
            self._customize()


def _runs_nothing(path):
    """Whether a `.pth` file only names directories; its lines that begin with `import` are code."""
    try:
        with open(path, "rb") as file:
            text = file.read(LARGE)
    except OSError:
        return False
    # Wherever the word stands: how lines are told apart differs between versions of Python.
    return len(text) < LARGE and b"import" not in text
