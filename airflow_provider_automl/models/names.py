"""What models and aliases may be called, and how a shared version is named."""

from __future__ import annotations

import uuid

from airflow_provider_automl.errors import InputError

_MAX_NAME = 200


def check_alias(alias: object) -> str:
    """Return ``alias`` if it is a valid alias; the rules are those of a model name.

    :raises InputError: see :func:`check_model_name`.
    """
    if not isinstance(alias, str) or not alias:
        raise InputError(f"alias is {alias!r}: give a non-empty name, such as 'census_champion'.")
    try:
        return check_model_name(alias)
    except InputError as error:
        raise InputError(str(error).replace("model_name", "alias", 1)) from None


def check_model_name(name: object) -> str:
    """Return ``name`` if it is a valid model name, which is also a directory of the model store.

    :raises InputError: it is empty, longer than 200 bytes, contains ``/``, ``\\``, ``..``, ``*`` or a control
        character, or starts or ends with a space or a dot.

    >>> check_model_name("churn-2026")
    'churn-2026'
    >>> try:
    ...     check_model_name("crm/churn")
    ... except InputError as error:
    ...     print(error)
    model_name 'crm/churn' contains '/': use letters, digits, '_', '-' and '.' instead.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"model_name is {name!r}: give a non-empty name, such as 'gluon_model_{{{{ ts_nodash }}}}'.")
    bad = sorted({repr(c) for c in name if c in "/\\*" or not c.isprintable()})
    if ".." in name:
        bad.append("'..'")
    if bad:
        raise InputError(
            f"model_name {name!r} contains {', '.join(bad)}: use letters, digits, '_', '-' and '.' instead."
        )
    if name != name.strip(" .") or len(name.encode()) > _MAX_NAME:
        raise InputError(
            f"model_name {name[:60]!r} starts or ends with a space or dot, or is longer than {_MAX_NAME} bytes: "
            "shorten it, and use letters, digits, '_', '-' and '.'."
        )
    return name


def new_share() -> str:
    """A random, and so unguessable, UUID to share a model under."""
    return str(uuid.uuid4())
