"""Each vendor's key goes to that vendor alone, in one header, and into nothing that a run writes or says; over the real command and wire."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.storage_servers import moto  # noqa: F401 - a fixture
from tests.e2e.stage import Stage, Told, command
from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer
from tests.fakes.server import FakeServer

CANARY = "canary-77d1e2-"
KEYS = {
    "OPENAI_API_KEY": f"{CANARY}openai-key",
    "REPLICATE_API_TOKEN": f"{CANARY}replicate-token",
    "RUNPOD_API_KEY": f"{CANARY}runpod-key",
    "AWS_ACCESS_KEY_ID": f"{CANARY}access-id",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}secret-key",
}
OWN = {"openai": "OPENAI_API_KEY", "replicate": "REPLICATE_API_TOKEN", "runpod": "RUNPOD_API_KEY"}
BUCKET = "canary-bucket"


@dataclass
class Wire:
    """A relay that keeps every byte that a client sends through it."""

    url: str
    target: tuple[str, int]
    sent: list[bytes] = field(default_factory=list)

    def carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server:
            back = threading.Thread(target=_pump, args=(server, client, None), daemon=True)
            back.start()
            _pump(client, server, self.sent)
            back.join()


def _pump(source: socket.socket, sink: socket.socket, kept: list[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if kept is not None:
                kept.append(data)
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relayed(url: str) -> Iterator[Wire]:
    """A relay in front of a server."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(f"http://127.0.0.1:{listening.getsockname()[1]}", (parts.hostname or "", parts.port or 80))
        threads: list[threading.Thread] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threads.append(threading.Thread(target=wire.carry, args=(client,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield wire
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Cloud:
    """The vendors on this machine, another host that nobody should send a key to, and what was sent to the bucket."""

    servers: Mapping[str, FakeServer[Any]]
    elsewhere: FakeServer[Any]
    bucket: Wire

    @property
    def environment(self) -> dict[str, str]:
        urls = {f"{name.upper()}_BASE_URL": server.url for name, server in self.servers.items()}
        own = {"AWS_ENDPOINT_URL_S3": self.bucket.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull}
        return {**KEYS, **urls, **own, "AWS_EC2_METADATA_DISABLED": "true"}

    def strays(self) -> list[str]:
        """Where a key was sent that does not belong there."""
        found = [
            f"{name}: {line}" for name, server in self.servers.items() for line in _strays(server, KEYS[OWN[name]])
        ]
        found += [f"elsewhere: {line}" for line in _strays(self.elsewhere, "nobody's")]
        through = b"".join(self.bucket.sent)
        found += [
            f"s3: {name}" for name, key in KEYS.items() if name != "AWS_ACCESS_KEY_ID" and key.encode() in through
        ]
        return found


def _strays(server: FakeServer[Any], own: str) -> list[str]:
    found = []
    for each in server.requests:
        headers = {name: value for name, value in each.headers.items() if CANARY in value}
        if headers.pop("authorization", f"Bearer {own}") != f"Bearer {own}" or headers or CANARY in each.path:
            found.append(f"{each.path} {headers}")
        if CANARY.encode() in each.body:
            found.append(f"{each.path}: in its body")
        if each.route == "output" and "authorization" in each.headers:
            found.append(f"{each.path}: a download with a key")
    return found


@pytest.fixture
def cloud(moto: str) -> Iterator[Cloud]:  # noqa: F811 - the fixture above
    import boto3

    with contextlib.ExitStack() as held:
        kinds: tuple[Any, ...] = (OpenAIServer, ReplicateServer, RunPodServer)
        servers: dict[str, FakeServer[Any]] = {kind.name: held.enter_context(kind()) for kind in kinds}
        elsewhere = held.enter_context(OpenAIServer())
        for server in (*servers.values(), elsewhere):
            server.set(paint="plain", redirect_to=elsewhere.origin + "/v1/chat/completions", retry_after_s=0.0)
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=moto, **keys)
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield Cloud(servers, elsewhere, held.enter_context(relayed(moto)))


def repair(stage: Stage, cloud: Cloud, *more: str) -> Told:
    words = ("profile=cloud", "storage=s3", f"storage.bucket={BUCKET}", "debug=true", "execute=true", "force=true")
    fast = ("retry.wait_s=0", "retry.attempts=2", "steps.plan.width=256", "steps.plan.height=384")
    return command("run", "repair_base_images", *words, *fast, *more, cwd=stage.root, env=cloud.environment)


def kept(root: Path) -> list[str]:
    """Files below a folder that hold a key."""
    return [str(path) for path in root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_the_search_finds_strays(cloud: Cloud) -> None:
    """Or the tests below would prove nothing."""
    own, other = KEYS["OPENAI_API_KEY"], KEYS["REPLICATE_API_TOKEN"]
    url = cloud.servers["openai"].url
    httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {own}"})
    assert cloud.strays() == []
    httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {other}"})
    httpx.get(f"{url}/models?key={own}", headers={"X-Key": own})
    httpx.post(f"{url}/chat/completions", content=own)
    httpx.get(f"{cloud.elsewhere.url}/models", headers={"Authorization": f"Bearer {own}"})
    httpx.get(cloud.bucket.url, headers={"X-Key": KEYS["AWS_SECRET_ACCESS_KEY"]})
    assert len(cloud.strays()) == 5


IMAGES = {
    "replicate": ("image.poll_s=0",),
    "runpod": ("image.poll_s=0", "image.endpoint=flux"),
    "openai": (),
}


@pytest.mark.parametrize("image", IMAGES)
def test_a_repair_sends_each_key_to_its_own_vendor_alone(stage: Stage, cloud: Cloud, image: str) -> None:
    if image == "runpod":
        cloud.servers["runpod"].set(image_type="s3_url")
    told = repair(stage, cloud, f"image={image}", *IMAGES[image])
    assert told.code in (0, 1), told.text
    # The search would find them: they were there to be sent.
    authorized = [each for each in cloud.servers["openai"].requests if CANARY in each.headers.get("authorization", "")]
    assert authorized
    assert KEYS["AWS_ACCESS_KEY_ID"].encode() in b"".join(cloud.bucket.sent)
    assert cloud.strays() == []
    assert CANARY not in told.text
    assert kept(stage.root) == []
    assert list((stage.root / "outputs").rglob("debug/execute/*/*.json"))


@pytest.mark.parametrize("fault", ["redirect", "401_echo", "403", "500", "html_200"])
@pytest.mark.parametrize(("server", "route"), [("openai", "chat"), ("replicate", "create"), ("replicate", "get")])
def test_a_vendor_that_fails_gets_no_key_further(
    stage: Stage, cloud: Cloud, server: str, route: str, fault: str
) -> None:
    cloud.servers[server].always(route, fault)
    told = repair(stage, cloud, "image.poll_s=0")
    assert told.code in (0, 1, 3), told.text
    assert "Traceback" not in told.text
    assert cloud.elsewhere.requests == []
    assert cloud.strays() == []
    assert CANARY not in told.text
    assert kept(stage.root) == []


def test_a_strangers_recipe_can_not_have_a_key_sent_to_it(stage: Stage, cloud: Cloud) -> None:
    """Its server is on this machine only for the test: by a name that is not this machine's it would be refused alike."""
    stage.write(
        "recipes/stranger.yaml",
        "defaults: [base, steps@steps.validate: validate, _self_, override vision: openai]\n"
        f"vision: {{base_url: 'http://stranger.example:{urlsplit(cloud.elsewhere.url).port}/v1', key_env: OPENAI_API_KEY}}\n",
    )
    told = command("run", "stranger", cwd=stage.root, env=cloud.environment)
    assert told.code == 2, told.text
    assert "CALLSHEET_TRUSTED_HOSTS" in told.text
    assert cloud.strays() == []
    assert cloud.elsewhere.requests == []


def test_the_doctor_shows_no_key_that_a_server_repeats(stage: Stage, cloud: Cloud) -> None:
    cloud.servers["openai"].always("models", "401_echo")
    told = command("doctor", "validate_base_images", "vision=openai", cwd=stage.root, env=cloud.environment)
    assert told.code == 2, told.text
    assert CANARY not in told.text


def test_the_doctor_shows_no_key(stage: Stage, cloud: Cloud) -> None:
    words = ("profile=cloud", "storage=s3", f"storage.bucket={BUCKET}")
    told = command("doctor", "repair_base_images", *words, cwd=stage.root, env=cloud.environment)
    assert told.code == 0, told.text
    assert CANARY not in told.text
    assert "gpt-4.1-mini is shut down on 2027-01-14" in told.text
    assert "limits:" in told.text
    assert cloud.strays() == []
