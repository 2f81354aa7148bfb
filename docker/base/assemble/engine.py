"""Asks the Docker engine, through its own client."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

from . import AssembleError


def labels(image: str) -> dict[str, str] | None:
    """Returns the labels of an image; None when there is no such image."""
    done = run("image", "inspect", "--format", "{{json .Config.Labels}}", image)
    if done.returncode == 0:
        return json.loads(done.stdout) or {}
    if "no such image" in done.stderr.lower():
        return None
    raise AssembleError(f"the Docker engine does not answer; run docker/setup\n{done.stderr.strip()}")


def size(image: str) -> int:
    """Returns the size of an image in bytes, as `docker images` shows it."""
    done = run("image", "inspect", "--format", "{{.Size}}", image)
    if done.returncode != 0:
        raise AssembleError(f"cannot inspect `{image}`: {done.stderr.strip()}")
    return int(done.stdout)


def build(image: str, files: list[Path], tags: dict[str, str]) -> None:
    """Builds an image from a Dockerfile and its layers, with the classic builder and no network."""
    replaced = identity(image)
    command = ["docker", "build", "--quiet", "--network", "none", "--force-rm", "--tag", image]
    for key, value in tags.items():
        command += ["--label", f"{key}={value}"]
    with subprocess.Popen(
        [*command, "-"],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as builder:
        try:
            # The client knows an archive by its first block, so that must not be a PAX header.
            with tarfile.open(fileobj=builder.stdin, mode="w|", format=tarfile.GNU_FORMAT) as context:
                for file in files:
                    context.add(file, file.name)
            builder.stdin.close()
        except BrokenPipeError:
            # The builder gave up early; its own words follow.
            pass
        output = builder.stdout.read().decode(errors="replace")
    if builder.returncode != 0:
        last = "\n".join(output.strip().splitlines()[-20:])
        raise AssembleError(f"cannot build `{image}`:\n{last}")
    if replaced and replaced != identity(image):
        remove_nameless(replaced)


def identity(image: str) -> str | None:
    """Returns the id of an image; None when there is no such image."""
    done = run("image", "inspect", "--format", "{{.Id}}", image)
    return done.stdout.strip() if done.returncode == 0 else None


def remove_nameless(image: str) -> None:
    """Removes an image that has lost its name, so that rebuilding does not fill the disk."""
    if run("image", "inspect", "--format", "{{len .RepoTags}}", image).stdout.strip() == "0":
        # The engine refuses where a container or a pack's image still stands on it, which is right.
        run("image", "rm", image)


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the Docker client and returns what came of it."""
    try:
        return subprocess.run(
            ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise AssembleError("the program `docker` is missing; run docker/setup") from error
