"""Models of an object store, kept on a worker's disk by their digest."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from airflow_provider_automl.errors import InputError
from airflow_provider_automl.jobs.errors import JobInputError
from airflow_provider_automl.jobs.model_files import read_manifest

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_files(model: Path, digest: str) -> None:
    """Check that a directory holds the model of that digest, every file of it as it was.

    :raises InputError: names the file that is missing, was changed or added.
    """
    try:
        read_manifest(model, digest)
    except JobInputError as error:
        raise InputError(str(error)) from error


class ModelCache:
    """A bounded directory of models. Any number of processes may use it at once.

    :param directory: made if missing.
    :param limit: bytes; the models that were used longest ago go when they are more, but none that is in use.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit

    @contextmanager
    def opened(self, digest: str, download: Callable[[Path], None]) -> Iterator[Path]:
        """Yield the directory of the model of that digest; it stays while the context lasts.

        :param download: brings the model's files into a directory, if they are not there, or were changed there.
        :raises InputError: what was downloaded is not what is registered, or the digest is none.
        """
        if not _DIGEST.fullmatch(digest):
            raise InputError(f"{digest[:80]!r} is no digest of a model: the registry's row is not ours. Train again.")
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = self.directory / digest
        with self._lock(digest) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_whole(kept, digest):
                shutil.rmtree(kept, ignore_errors=True)
                self._download(kept, digest, download)
            os.utime(kept)
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._make_room(digest)
            yield kept

    def _download(self, kept: Path, digest: str, download: Callable[[Path], None]) -> None:
        for leftover in self.directory.glob(f".{digest}.*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        partial = self.directory / f".{digest}.{uuid.uuid4().hex}"
        try:
            partial.mkdir()
            download(partial)
            check_files(partial, digest)
            partial.rename(kept)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @staticmethod
    def _is_whole(kept: Path, digest: str) -> bool:
        try:
            check_files(kept, digest)
        except InputError:
            return False
        return True

    def _make_room(self, needed: str) -> None:
        models = [path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
        sizes = {path: _size(path) for path in models}
        total = sum(sizes.values())
        for path in sorted(models, key=_used):
            if total <= self.limit:
                return
            if path.name == needed:
                continue
            with self._lock(path.name) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # it is in use
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]

    def _lock(self, digest: str) -> IO[str]:
        return (self.directory / f"{digest}.lock").open("a")


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
