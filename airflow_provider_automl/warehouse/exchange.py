"""Staging: a shared location through which the engine and this process exchange Parquet files."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from airflow_provider_automl.errors import BusyError, InputError

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Age in seconds after which any user of the location removes a directory that a killed process left there.
_ABANDONED = 24 * 60 * 60.0
_NAME = re.compile(r"automl-[0-9a-f]{32}")


class Exchange:
    """A staging location.

    :param uri: a directory, ``file:///shared/staging``, or a URI of another scheme that Airflow's
        ``ObjectStoragePath`` supports, such as ``s3://bucket/staging`` or, with an Airflow connection ID,
        ``s3://connection@bucket/staging``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or "/"

    @contextmanager
    def directory(self, key: str) -> Iterator[Shared]:
        """Yield a new, empty directory that is exclusive to this call; it is always removed at the end.

        Files that a killed process left under the same key are removed first; files that the engine still writes for
        that process end up outside this directory. On a disk, directories abandoned for a day are removed too.

        :raises InputError: this process cannot write to the location.
        :raises BusyError: the location is full, or temporarily unreachable.
        """
        name = "automl-" + sha256(key.encode()).hexdigest()[:32]
        scheme = urlsplit(self.uri).scheme
        shared: Shared
        if scheme in ("", "file"):
            root = Path(url2pathname(urlsplit(self.uri).path)) if scheme else Path(self.uri)
            shared = _Directory(root.absolute() / name)
        else:
            shared = _Prefix(self.uri, name)
        _clear(shared)
        with _staging_errors(self.uri):
            shared.make()
        shared.sweep()
        try:
            yield shared
        finally:
            _clear(shared)


class Shared:
    """One directory of a staging location, inside the directory of its key."""

    #: The URI passed to the engine, such as ``file:///shared/staging/automl-1a2b``; no trailing slash.
    uri: str

    def make(self) -> None:
        """Create the directory, empty."""
        raise NotImplementedError

    def put(self, files: list[Path]) -> None:
        """Copy local files into it as ``part-00000.parquet`` and so on; on the same disk, hard-link them instead."""
        raise NotImplementedError

    def take(self, directory: Path) -> list[Path]:
        """Move its files to a local directory, as ``part-00000.parquet`` and so on, and return their paths.

        Hidden files, checksums and empty files are skipped.
        """
        raise NotImplementedError

    def remove(self) -> None:
        """Remove the directory of its key recursively, if it exists."""
        raise NotImplementedError

    def sweep(self) -> None:
        """Remove the directories that killed processes left under other keys, where they can be identified."""


class _Directory(Shared):
    """On a disk that the engine's servers mount at the same path.

    The location may be writable by other users, so existing entries are not trusted: directories and files are created
    relative to open directory descriptors, and symbolic links are never followed.
    """

    def __init__(self, whole: Path) -> None:
        self.whole = whole
        self.path = whole / uuid.uuid4().hex
        self.uri = self.path.as_uri()
        self._mode = 0o700
        self._open: int | None = None

    def make(self) -> None:
        root = self.whole.parent
        root.mkdir(parents=True, exist_ok=True)
        # The engine writes as another user: grant everyone with access to the location the same access here.
        self._mode = stat.S_IMODE(root.stat().st_mode) & 0o3777 | 0o700
        above = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            whole = self._make(above, self.whole.name, is_new=False)
            try:
                self._open = self._make(whole, self.path.name, is_new=True)
            finally:
                os.close(whole)
        finally:
            os.close(above)

    def _make(self, above: int, name: str, *, is_new: bool) -> int:
        """Create a directory inside an open one, and open it."""
        made = True
        try:
            os.mkdir(name, 0o700, dir_fd=above)
        except FileExistsError:  # the engine still writes there for a process that was killed
            if is_new:
                raise
            made = False
        found = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        try:
            if not made and os.fstat(found).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "owned by another user: remove that directory", str(self.whole))
            with suppress(PermissionError):
                os.fchmod(found, self._mode)
        except BaseException:
            os.close(found)
            raise
        return found

    def put(self, files: list[Path]) -> None:
        assert self._open is not None
        with _staging_errors(self.uri):
            for path, name in zip(files, _names(len(files)), strict=True):
                try:
                    os.link(path, name, dst_dir_fd=self._open)
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._open)
                except OSError:
                    file = self._copy(path, name, self._open)
                try:
                    os.fchmod(file, 0o600 | self._mode & 0o044)  # as readable as the directory
                finally:
                    os.close(file)

    @staticmethod
    def _copy(path: Path, name: str, directory: int) -> int:
        """Copy a file into an open directory, and return the open copy."""
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        try:
            with path.open("rb") as source, os.fdopen(file, "wb", closefd=False) as target:
                shutil.copyfileobj(source, target)
        except BaseException:
            os.close(file)
            raise
        return file

    def take(self, directory: Path) -> list[Path]:
        found = sorted(
            path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink() and _is_data(path.name)
        )
        filled = [path for path in found if path.stat().st_size]
        targets = [directory / name for name in _names(len(filled))]
        with _staging_errors(self.uri), disk_errors(directory):
            for path, target in zip(filled, targets, strict=True):
                shutil.move(path, target)
        return targets

    def remove(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None
        with suppress(FileNotFoundError):
            if self.whole.is_symlink():
                self.whole.unlink()
            else:
                shutil.rmtree(self.whole)

    def sweep(self) -> None:
        for path in self.whole.parent.iterdir():
            with suppress(OSError):
                if _NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path)


class _Prefix(Shared):
    """In an object store or another file system supported by fsspec."""

    def __init__(self, root: str, name: str) -> None:
        uri = f"{root}/{name}/{uuid.uuid4().hex}"
        parts = urlsplit(uri)
        self.uri = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        with _staging_errors(uri):
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            path = ObjectStoragePath(uri)
            try:
                self.files: Any = path.fs
            except ValueError as error:
                raise ImportError(error) from error
            self.path = str(path.path)
            self.whole = self.path.rpartition("/")[0]

    def make(self) -> None:
        self.files.makedirs(self.path, exist_ok=True)

    def put(self, files: list[Path]) -> None:
        with _staging_errors(self.uri):
            for path, name in zip(files, _names(len(files)), strict=True):
                self.files.put_file(str(path), f"{self.path}/{name}")

    def take(self, directory: Path) -> list[Path]:
        with _staging_errors(self.uri), disk_errors(directory):
            self.files.invalidate_cache()
            found = self.files.find(self.path, detail=True)
            filled = sorted(
                name for name, entry in found.items() if entry.get("size") and _is_data(name.rpartition("/")[2])
            )
            targets = [directory / name for name in _names(len(filled))]
            for name, target in zip(filled, targets, strict=True):
                self.files.get_file(name, str(target))
        return targets

    def remove(self) -> None:
        self.files.invalidate_cache()
        if self.files.exists(self.whole):
            self.files.rm(self.whole, recursive=True)


def _clear(shared: Shared) -> None:
    try:
        shared.remove()
    except Exception as error:  # the engine may be writing there
        log.warning("Could not remove the staging directory %s: %s", shared.uri, error)


def _names(count: int) -> list[str]:
    return [f"part-{number:05}.parquet" for number in range(count)]


def _is_data(name: str) -> bool:
    return not name.startswith((".", "_")) and not name.endswith(".crc")


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Translate errors of a full local disk.

    :raises BusyError: the disk of this directory is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise BusyError(f"The directory {directory} on this worker is full: {error}") from error
        raise


@contextmanager
def _staging_errors(uri: str) -> Iterator[None]:
    """Translate errors of a staging location.

    :raises InputError: it is unusable: missing permissions, or a file system that is not installed.
    :raises BusyError: it is full.
    """
    try:
        yield
    except (BusyError, InputError):
        raise
    except ImportError as error:
        raise InputError(
            f"The staging location {uri} requires a file system that is not installed: {error}. For s3://: pip install "
            "'airflow-provider-automl[s3]'."
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise BusyError(f"The staging location {uri} is full: {error}") from error
        raise InputError(
            f"This worker cannot use the staging location {uri}: {type(error).__name__}: {error}. Give a location "
            "where both the engine's servers and Airflow's workers can create files."
        ) from error
