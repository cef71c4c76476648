"""Credentials for S3 from the environment, in both spellings that are about; never from a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from runner.errors import UserError

KEY = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
SECRET = ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_SECRET")
REGION = ("AWS_DEFAULT_REGION", "AWS_REGION")
TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the variable's name


@dataclass(frozen=True)
class Access:
    """What the environment says.

    Attributes:
        key: The access key's id; None leaves all to boto3's own chain (profiles, roles).
        found: The variables that were used, for messages.
    """

    key: str | None
    secret: SecretStr | None
    token: SecretStr | None
    region: str | None
    found: tuple[str, ...]


def access(environ: Mapping[str, str] | None = None) -> Access:
    """Read the environment; the standard names win over the aliases.

    Raises:
        UserError: The two spellings say different things, or half of the pair is missing. Names, never values, are told.
    """
    environ = os.environ if environ is None else environ
    key, key_name = _either(KEY, environ)
    secret, secret_name = _either(SECRET, environ)
    region, _ = _either(REGION, environ)
    if (key is None) != (secret is None):
        missing = SECRET if key else KEY
        raise UserError(
            f"{key_name or secret_name} is set, and {missing[0]} (or {missing[1]}) is not: set both, or neither to use a profile or role"
        )
    if key is None or secret is None:
        return Access(None, None, None, region, ())
    token = environ.get(TOKEN) or None
    found = (key_name, secret_name, *((TOKEN,) if token else ()))
    return Access(key, SecretStr(secret), SecretStr(token) if token else None, region, found)


def _either(names: tuple[str, str], environ: Mapping[str, str]) -> tuple[str | None, str]:
    standard, alias = (environ.get(name) or None for name in names)
    if standard and alias and standard != alias:
        raise UserError(f"{names[0]} and {names[1]} are both set and differ: unset {names[1]}, or make them the same")
    if standard:
        return standard, names[0]
    return alias, names[1] if alias else ""
