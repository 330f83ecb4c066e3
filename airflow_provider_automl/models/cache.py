"""A worker's disk cache of models from an object store, keyed by digest."""

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
    """Verify that a directory holds the model with this digest, with all files unchanged.

    :raises InputError: a file is missing, changed or unexpected; the message names it.
    """
    try:
        read_manifest(model, digest)
    except JobInputError as error:
        raise InputError(str(error)) from error


class ModelCache:
    """A bounded directory of models, safe for concurrent use by several processes.

    :param directory: created if missing.
    :param limit: bytes; beyond them the least recently used models are evicted, except those in use.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit

    @contextmanager
    def opened(self, digest: str, download: Callable[[Path], None]) -> Iterator[Path]:
        """Yield the directory of the model with this digest; it is not evicted within the context.

        :param download: downloads the model's files into a directory; called if they are not cached, or were changed.
        :raises InputError: the downloaded files do not match the digest, or the digest is malformed.
        """
        if not _DIGEST.fullmatch(digest):
            raise InputError(f"{digest[:80]!r} is not a model digest: the registry row is invalid. Train again.")
        self.directory.mkdir(parents=True, exist_ok=True)
        cached = self.directory / digest
        with self._lock(digest) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_intact(cached, digest):
                shutil.rmtree(cached, ignore_errors=True)
                self._download(cached, digest, download)
            os.utime(cached)
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._evict(digest)
            yield cached

    def _download(self, cached: Path, digest: str, download: Callable[[Path], None]) -> None:
        for orphan in self.directory.glob(f".{digest}.*"):  # of a process that was killed
            shutil.rmtree(orphan, ignore_errors=True)
        partial = self.directory / f".{digest}.{uuid.uuid4().hex}"
        try:
            partial.mkdir()
            download(partial)
            check_files(partial, digest)
            partial.rename(cached)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @staticmethod
    def _is_intact(cached: Path, digest: str) -> bool:
        try:
            check_files(cached, digest)
        except InputError:
            return False
        return True

    def _evict(self, needed: str) -> None:
        models = [path for path in self.directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
        sizes = {path: _size(path) for path in models}
        total = sum(sizes.values())
        for path in sorted(models, key=_last_used):
            if total <= self.limit:
                return
            if path.name == needed:
                continue
            with self._lock(path.name) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # in use
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]

    def _lock(self, digest: str) -> IO[str]:
        return (self.directory / f"{digest}.lock").open("a")


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
