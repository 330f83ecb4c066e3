"""Directories of models on a disk or in an object store: copying and removing them, and what goes wrong there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow_provider_automl.errors import AutoMLError, BusyError, InputError


def local_path(uri: str) -> Path | None:
    """The path of a ``file://`` URI; None for other schemes."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def check_store(base: str) -> str:
    """Check that the model store at ``base``, a directory or a URI, is writable; returns ``base``.

    :raises InputError: the directory cannot be created or written, or the URI's file system is not installed.
    """
    local = local_path(base) if "://" in base else Path(base)
    if local is not None:
        require_writable(local, "model store")
        return base
    probe = f"{base.rstrip('/')}/.check-{uuid.uuid4().hex}"
    try:
        with translate_errors(base):
            target = stored(probe)
            target.fs.pipe_file(target.path, b"")
            target.fs.rm_file(target.path)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"The model store {base} requires a file system that is not installed: {error} "
            "(for s3://: pip install 'airflow-provider-automl[s3]')."
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"The model store {base} does not exist: create it ({error}).") from error
    return base


def require_writable(directory: Path, what: str) -> None:
    """Create a directory if it is missing, and check that it is writable.

    :raises InputError: it cannot be created, or is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Could not create the {what} {directory}: {error}.") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(
            f"The {what} {directory} is not writable by this user: change its permissions, or use another directory."
        )


@contextmanager
def translate_errors(base: str) -> Iterator[None]:
    """Translate errors of an object store into this package's; errors of a local disk pass through.

    :raises BusyError: the store is unreachable.
    :raises InputError: the store denies access.
    """
    try:
        yield
    except (AutoMLError, FileNotFoundError):
        raise
    except Exception as error:
        remote = local_path(base) is None if "://" in base else False
        text = " ".join(str(error).split())[:500]
        if remote and isinstance(error, PermissionError):
            raise InputError(
                f"The model store {base} denied access: {text}. Grant its connection permission to list, read, "
                "write and delete there, or use another store."
            ) from error
        unreachable = isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith(
            ("botocore", "aiobotocore", "aiohttp", "google", "azure")
        )
        if remote and (unreachable or isinstance(error, OSError)):
            raise BusyError(f"The model store {base} is unreachable: {type(error).__name__}: {text}") from error
        raise


def stored(uri: str) -> Any:
    """The ``ObjectStoragePath`` of a URI."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)


def upload(directory: Path, uri: str) -> None:
    """Move the files of a directory into a new one; on a disk, it appears with all files or not at all."""
    local = local_path(uri)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f".{local.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.move(directory, partial)  # a rename on one file system, else a copy
            partial.rename(local)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            target = stored(f"{uri}/{path.relative_to(directory).as_posix()}")
            target.fs.put_file(str(path), target.path)


def upload_file(file: Path, uri: str) -> None:
    """Copy a file into a directory, replacing one of the same name."""
    local = local_path(uri)
    if local is None:
        target = stored(f"{uri}/{file.name}")
        target.fs.put_file(str(file), target.path)
        return
    local.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, local / f".{file.name}.partial")
    os.replace(local / f".{file.name}.partial", local / file.name)


def download(uri: str, target: Path) -> bool:
    """Copy the files of a directory out of an object store; False if it does not exist."""
    source = stored(uri)
    if not source.exists():
        return False
    for path in source.rglob("*"):
        if path.is_file():
            relative = path.path[len(source.path) :].lstrip("/")
            if ".." in relative.split("/"):
                raise InputError(f"The name of the object {path} leads out of its directory.")
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            path.fs.get_file(path.path, str(target / relative))
    return True


def remove(uri: str) -> bool:
    """Remove a directory; False if it does not exist."""
    local = local_path(uri)
    if local is not None:
        # Renamed first, so that an interrupted removal is never taken for a complete version, and is resumed.
        removed = local.with_name(f".{local.name}.removed")
        if local.exists():
            local.rename(removed)
        elif not removed.exists():
            return False
        shutil.rmtree(removed)
        return True
    path = stored(uri)
    if not path.exists():
        return False
    path.rmdir(recursive=True)
    return True
