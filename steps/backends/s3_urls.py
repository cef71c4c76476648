"""Web addresses of a bucket's objects: how manifests note them, in all the forms that occur."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

AWS = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?P<region>[a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True)
class Addresses:
    """The addresses of one bucket.

    Attributes:
        endpoint: Of a store other than AWS.
        region: As AWS has it in its addresses; the old global form without.
    """

    bucket: str
    endpoint: str | None
    region: str | None

    def url(self, key: str) -> str:
        """An object's address: `https://BUCKET.s3.REGION.amazonaws.com/KEY`, or `ENDPOINT/BUCKET/KEY`."""
        path = quote(key, safe="/~!*'()")
        if self.endpoint:
            return f"{self.endpoint.rstrip('/')}/{self.bucket}/{path}"
        region = f".{self.region}" if self.region else ""
        if "." in self.bucket:
            # A dot in a bucket's name does not fit the certificate of its host.
            return f"https://s3{region}.amazonaws.com/{self.bucket}/{path}"
        return f"https://{self.bucket}.s3{region}.amazonaws.com/{path}"

    def key(self, url: str) -> str | None:
        """The key in this bucket that an address names, signatures and the like left out; None for any other address."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return None
        path = unquote(parts.path).removeprefix("/")
        if parts.scheme == "s3":
            return path if parts.netloc == self.bucket else None
        if parts.scheme not in ("http", "https") or not path:
            return None
        if self.endpoint and parts.netloc == urlsplit(self.endpoint).netloc:
            return self._in_path(path)
        found = AWS.fullmatch(host)
        if found is None:
            return None
        if found["bucket"] is None:
            return self._in_path(path)
        return path if found["bucket"] == self.bucket else None

    def _in_path(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        return key if bucket == self.bucket and key else None
