"""What the rules stand for in each language, and the settings of one check.

A name covers all that lies below it: `subprocess` covers `subprocess.run`.
"""

PYTHON = {
    "processes": (
        "subprocess multiprocessing pty pip webbrowser antigravity "
        "os.system os.popen os.fork os.forkpty os.kill os.killpg os.posix_spawn os.posix_spawnp os.startfile "
        "os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe "
        "os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe "
        "asyncio.create_subprocess_exec asyncio.create_subprocess_shell asyncio.subprocess "
        "concurrent.futures.ProcessPoolExecutor concurrent.futures.process signal.pidfd_send_signal "
        "signal.pthread_kill"
    ).split(),
    "dynamic_code": (
        "builtins.eval builtins.exec builtins.compile builtins.__import__ importlib imp runpy code codeop pkgutil "
        "types.FunctionType types.CodeType types.LambdaType sys._getframe sys.settrace sys.meta_path sys.path_hooks"
    ).split(),
    "native_code": "ctypes _ctypes cffi mmap".split(),
    "file_writes": (
        "os.mkdir os.makedirs os.rename os.renames os.replace os.link os.symlink os.truncate os.ftruncate os.chmod "
        "os.fchmod os.lchmod os.chown os.fchown os.lchown os.mkfifo os.mknod os.utime os.setxattr os.creat "
        "shutil.copy shutil.copy2 shutil.copyfile shutil.copymode shutil.copystat shutil.copytree shutil.move "
        "shutil.make_archive shutil.unpack_archive shutil.chown "
        "pathlib.Path.write_text pathlib.Path.write_bytes pathlib.Path.mkdir pathlib.Path.touch pathlib.Path.rename "
        "pathlib.Path.replace pathlib.Path.symlink_to pathlib.Path.hardlink_to pathlib.Path.chmod pathlib.Path.lchmod"
    ).split(),
    "file_removals": (
        "os.remove os.unlink os.rmdir os.removedirs os.removexattr shutil.rmtree pathlib.Path.unlink pathlib.Path.rmdir"
    ).split(),
}

# Commands of the shell. What `processes` would be is what a shell is for.
BASH = {
    "processes": "kill pkill killall nohup setsid disown coproc".split(),
    "dynamic_code": "eval source .".split(),
    "native_code": "enable".split(),
    "file_writes": (
        "cp mv ln tee dd touch mkdir mkfifo mknod truncate install chmod chown chgrp split csplit mktemp rsync unzip"
    ).split(),
    "file_removals": "rm rmdir unlink shred".split(),
}

NAMES = {"python": PYTHON, "bash": BASH}


# Characters of what was found that are told.
LONGEST = 250


class Finding:
    """One place that a rule objects to; lines and columns count from 1."""

    def __init__(self, line, column, rule, found, name=None, module=False):
        self.line = line
        self.column = column
        self.rule = rule
        self.found = found[:LONGEST]
        if name is not None:
            self.name = name[:LONGEST]
        if module:
            setattr(self, "import", True)


def covers(names, path):
    """The name among `names` that is `path` or lies above it."""
    while path:
        if path in names:
            return path
        path = path.rpartition(".")[0]
    return None


def builtins(names):
    """The names, and what those that have no dot may be of Python's own."""
    return {*names, *(f"builtins.{name}" for name in names if "." not in name)}


class Settings:
    """What is asked for: rules, names, imports."""

    def __init__(self, language, settings):
        self.rules = {}
        for rule in settings["rules"]:
            for name in NAMES[language].get(rule, ()):
                self.rules[name] = rule
        self.on = set(settings["rules"])
        self.forbidden = builtins(settings["forbidden"])
        self.permitted = builtins(settings["permitted"])
        imports = settings["imports"]
        self.imports = None if imports is None else set(imports)
        self.named = set(settings["named"])

    def rule(self, path):
        """The rule that objects to a dotted name, and the name it lists."""
        if covers(self.permitted, path):
            return None
        listed = covers(self.forbidden, path)
        if listed:
            return "forbidden", listed
        listed = covers(self.rules, path)
        # Who names a module as one to import means to use it.
        if listed is None or listed in self.named:
            return None
        return self.rules[listed], listed

    def module(self, path):
        """The rule that objects to the import of a module, and the name it lists."""
        if any(name == path or name.startswith(path + ".") for name in self.permitted):
            return None
        found = self.rule(path)
        if found:
            return found
        if self.imports is None or covers(self.imports, path) or covers(self.permitted, path):
            return None
        # The parent of something listed: `concurrent` for `concurrent.futures`.
        if any(name.startswith(path + ".") for name in self.imports):
            return None
        return "imports", path.partition(".")[0]

    def below(self, path):
        """What is objected to directly below a module, by its last name."""
        prefix = path + "."
        listed = [*self.rules, *self.forbidden]
        return {name[len(prefix) :] for name in listed if name.startswith(prefix) and "." not in name[len(prefix) :]}

    def covered(self, path):
        """Whether any import of this is allowed, or none is restricted."""
        return self.imports is None or bool(covers(self.imports, path)) or bool(covers(self.permitted, path))
