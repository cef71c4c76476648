"""Keys: read from the environment when they are needed, held as SecretStr, and sent to their own vendor alone.

A recipe may come from a stranger, so it can't send a key where it likes: an address that a recipe gives gets one only if it is the
vendor's, on this machine, in the vendor's own variable for addresses, or in CALLSHEET_TRUSTED_HOSTS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from runner.doctor import Need
from runner.errors import MisconfiguredRun
from runner.secrets import SECRET_NAME

TRUSTED = "CALLSHEET_TRUSTED_HOSTS"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Whose key a variable holds, so that a recipe can't hand one vendor's key to another.
OWNERS = {
    "OPENAI_API_KEY": "openai",
    "REPLICATE_API_TOKEN": "replicate",
    "RUNPOD_API_KEY": "runpod",
    "AWS_ACCESS_KEY_ID": "s3",
    "AWS_SECRET_ACCESS_KEY": "s3",
    "AWS_SESSION_TOKEN": "s3",
    "AWS_ACCESS_KEY": "s3",
    "AWS_ACCESS_SECRET": "s3",
    "HF_TOKEN": "hugging face",
    "GITHUB_TOKEN": "github",
}


@dataclass(frozen=True)
class Vendor:
    """A service behind a key.

    Attributes:
        name: As in `vision=openai`.
        home: Its own address.
        url_variable: The environment variable in which its users name another address.
        instead: What a person without a key may choose.
    """

    name: str
    home: str
    url_variable: str
    instead: str

    def address(self, given: str | None) -> str:
        """Where requests go: the recipe's word, then the environment's, then home."""
        return (given or os.environ.get(self.url_variable) or self.home).rstrip("/")

    def key(self, variable: str, url: str) -> SecretStr:
        """The key for an address.

        Raises:
            MisconfiguredRun: It is not set, or must not go there.
        """
        if fault := self.fault(variable, url):
            raise MisconfiguredRun(f"{self.name}: {fault}")
        # Servers of one's own (Ollama, vLLM) want none.
        return SecretStr(os.environ.get(variable) or "none")

    def fault(self, variable: str, url: str) -> str | None:
        """Why there is no key for an address, with what to do; or None."""
        if OWNERS.get(variable, self.name) != self.name:
            return f"{variable} holds a key of {OWNERS[variable]}, which does not go to {self.name}"
        if not SECRET_NAME.search(variable):
            return f"{variable} does not look like the name of a key, so that it would not be masked: name it with KEY or TOKEN in it"
        if not _is_address(url):
            return f"{url!r} is no address: give http(s)://HOST/..."
        if not self._trusts(url):
            return (
                f"{url} is not {self.name}'s own address, and {variable} goes to no host that only a recipe names: "
                f"set {self.url_variable}={url}, or {TRUSTED}={urlsplit(url).hostname}"
            )
        key = os.environ.get(variable) or ""
        if not (key.isascii() and key.isprintable() and " " not in key):
            return f"{variable} holds a space, a line end or a letter that no key has: set it again"
        if self._at_home(url) and not variable.startswith(self.name.upper()):
            return f"{variable} is not named as a key of {self.name}: give one that begins with {self.name.upper()}_"
        if not os.environ.get(variable) and self._at_home(url):
            return f"{variable} is not set: set it, or choose {self.instead}"
        return None

    def needs(self, variable: str, given: str | None) -> Iterator[Need]:
        """For `callsheet doctor`."""
        url = self.address(given)
        fault = self.fault(variable, url)
        yield Need(f"{variable} for {url}", met=fault is None, advice=fault or "")

    def _at_home(self, url: str) -> bool:
        return (urlsplit(url).scheme, urlsplit(url).hostname) == ("https", urlsplit(self.home).hostname)

    def _trusts(self, url: str) -> bool:
        return self._at_home(url) or trusted(url, self.url_variable)


def trusted(url: str, *variables: str) -> bool:
    """Whether a person, and not only a recipe, has named an address: on this machine, in one of the variables, or in the list of hosts."""
    host = urlsplit(url).hostname or ""
    named = [(os.environ.get(variable) or "").rstrip("/") for variable in variables]
    hosts = [name.strip() for name in os.environ.get(TRUSTED, "").split(",")]
    return host in LOOPBACK or url.rstrip("/") in named or host in hosts


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
