"""Repairs whose storage, looks and images are servers': what they are asked, what they are paid, and what the bucket holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mimetypes
import os
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.crash import KILLED, Case, Ended
from tests.chaos.scene import snapshot
from tests.chaos.servers import Servers
from tests.contract.storage_servers import KEY_ID, SECRET, client

BUCKET, PREFIX = "callsheet-chaos", "cast/"
TRASH = f"{PREFIX}.callsheet/trash/"
STORAGES: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "s3": ("storage=s3", f"storage.bucket={BUCKET}", f"storage.prefix={PREFIX}"),
}
IMAGES: Mapping[str, tuple[str, ...]] = {
    "embedded": (),
    "openai": ("image=openai",),
    "replicate": ("image=replicate", "image.poll_s=0"),
    "runpod": ("image=runpod", "image.poll_s=0", "image.endpoint=abc123", "image.gpu_usd_per_hour=3.6"),
}
BY_JOBS = ("replicate", "runpod")
# Imported before jobs are forked: each job would else spend its first second on them.
WARM = ("openai", "httpx", "httpx2", "replicate.client", "boto3.session", "botocore.endpoint", "jsonschema", "tenacity")
FOREIGN = re.compile(r"(?i)(\w+_proxy|AWS_\w+|OPENAI_\w+|REPLICATE_\w+|RUNPOD_\w+|CALLSHEET_\w+)")
SAID = re.compile(r"an earlier run was cut off while it created the job for ([0-9a-f]{24})/\d+")
MIRROR = ("mirror.trashed", "mirror.put", "mirror.deleted")
MIRROR_UNDO = ("mirror.deleted", "mirror.restored")


def environment(servers: Servers) -> dict[str, str]:
    """For clients: keys of nobody, the servers' addresses, and no way to anywhere else."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    keys = ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "RUNPOD_API_KEY")
    return {
        **kept,
        **dict.fromkeys(keys, "nobody-s-key"),
        "OPENAI_BASE_URL": servers.urls["openai"],
        "REPLICATE_BASE_URL": servers.urls["replicate"],
        "RUNPOD_BASE_URL": servers.urls["runpod"],
        "AWS_ENDPOINT_URL_S3": servers.urls["s3"],
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "no_proxy": "*",
    }


class Stored(NamedTuple):
    """An object with all that a copy must keep."""

    data: bytes
    media_type: str
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def told(self) -> list[Any]:
        return [hashlib.sha256(self.data).hexdigest(), self.media_type, [list(pair) for pair in self.metadata]]


Objects = dict[str, Stored]
# Whatever is not below the prefix is nobody's business, however much its name looks like it.
OUTSIDE: Mapping[str, Stored] = {
    "castle/actors/0002_korean_27_female/base_image/0002_korean_27_female_base.jpg": Stored(b"theirs", "image/jpeg"),
    "actors/0002_korean_27_female/notes.txt": Stored(b"theirs too", "text/plain", (("owner", "somebody"),)),
}


def mirrored(data: Path) -> Objects:
    """A library's objects, and those of others."""
    found: Objects = dict(OUTSIDE)
    for path in sorted(data.rglob("*")):
        if path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            key = PREFIX + path.relative_to(data).as_posix()
            found[key] = Stored(path.read_bytes(), kind, (("camera", "kept"),))
    return found


def fill(url: str, objects: Objects) -> None:
    """Put them into the bucket, which is new."""
    s3 = client(url)
    s3.create_bucket(Bucket=BUCKET)
    for key, stored in objects.items():
        about = {"ContentType": stored.media_type, "Metadata": dict(stored.metadata)}
        s3.put_object(Bucket=BUCKET, Key=key, Body=stored.data, **about)


def everything(url: str) -> Objects:
    """The whole bucket."""
    s3, found = client(url), {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            answer = s3.get_object(Bucket=BUCKET, Key=entry["Key"])
            with contextlib.closing(answer["Body"]) as body:
                about = tuple(sorted(answer["Metadata"].items()))
                found[entry["Key"]] = Stored(body.read(), answer["ContentType"], about)
    return found


@dataclass
class Wired(Case):
    """A repair by servers.

    Attributes:
        objects: What the bucket holds before; empty without S3.
        bought: The images that an unbroken run has made, each by what was asked.
        looks: How often an unbroken run asks what an image shows.
        usd: What an unbroken run's budget has counted.
        seconds: How long an unbroken run takes.
        again: How many looks killed runs cost beyond that.
        doubled: How many images were made twice in all: by creates that were cut off.
    """

    servers: Servers = field(kw_only=True)
    storage: str = field(kw_only=True)
    image: str = field(kw_only=True)
    objects: Objects = field(default_factory=dict, kw_only=True)
    bought: Counter[str] = field(default_factory=Counter, kw_only=True)
    looks: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    again: int = 0
    doubled: int = 0

    def learn(self) -> Ended:
        if self.storage == "s3" and not self.objects:
            self.objects = mirrored(self.template / "data")
        ended = super().learn()
        self.bought, self.looks, self.usd = self.made(), self.looked(), self.spent()
        self.seconds = ended.seconds
        return ended

    def begin(self) -> None:
        self.begin_from(self.template, self.objects)

    def begin_from(self, template: Path, objects: Objects) -> None:
        """Make library, runs and bucket what is given, and the servers new."""
        self.scene.take(template)
        self.servers.reset()
        if self.storage == "s3":
            fill(self.servers.urls["s3"], objects)

    def bucket(self) -> Objects:
        return everything(self.servers.urls["s3"]) if self.storage == "s3" else {}

    def state(self) -> dict[str, Any]:
        return snapshot(self.scene, bucket={key: stored.told for key, stored in self.bucket().items()})

    def torn_or_lost(self) -> list[str]:
        now = self.bucket()
        there = {stored.data for stored in now.values()}
        wrong = [f"lost in the bucket: {key}" for key, stored in self.objects.items() if stored.data not in there]
        wrong += [f"another's object was touched: {key}" for key in OUTSIDE if now and now.get(key) != OUTSIDE[key]]
        return super().torn_or_lost() + wrong

    def made(self) -> Counter[str]:
        """What was paid for: jobs by their input, OpenAI's images by their number alone."""
        if self.image == "embedded":
            return Counter()
        seen = self.servers.state(self.image)
        if self.image in BY_JOBS:
            return Counter(json.dumps(job["input"], sort_keys=True) for job in seen["jobs"])
        return Counter({"an image": seen["counts"].get("images", 0)})

    def looked(self) -> int:
        return int(self.servers.state("openai")["counts"].get("chat", 0))

    def spent(self) -> float:
        """US dollars, as the budget has it."""
        with contextlib.closing(sqlite3.connect(self.scene.outputs / "ledger.sqlite")) as ledger:
            return float(ledger.execute("SELECT total(usd) FROM spending").fetchone()[0])

    def paid_twice(self, said: str, kills: int = 1, at_once: int = 1) -> list[str]:
        """Images that were made more often than the one whose create was cut off, and money that was not counted."""
        made, wrong = self.made(), []
        if self.bought - made:
            wrong.append(f"not made: {self.bought - made}")
        self.doubled += (made - self.bought).total()
        for asked, times in (made - self.bought).items():
            if times > self._may_be_again(asked, said, kills * at_once):
                wrong.append(f"paid {times} times more than once: {asked[:300]}")
        # RunPod's is a time that was measured.
        if self.spent() < self.usd - 2e-5:
            wrong.append(f"counted {self.spent()} US dollars instead of {self.usd}")
        self.again += self.looked() - self.looks
        for name in {"openai", self.image} - {"embedded"}:
            seen = self.servers.state(name)
            wrong += [f"{name}: {word}: {seen[word]}" for word in ("violations", "cancelled") if seen[word]]
        return wrong

    def _may_be_again(self, asked: str, said: str, in_flight: int) -> int:
        """How often more than once it may be made.

        Replicate lists what was created, so that nothing is created twice; RunPod doesn't, so that the job whose create was cut off may
        be, and is said; OpenAI's images have no name by which they could be asked for again.
        """
        if self.image == "replicate":
            return 0
        if self.image == "openai":
            return in_flight
        prompts = self._prompts()
        return sum(json.dumps(prompts.get(action, "\0"))[1:-1] in asked for action in SAID.findall(said))

    def _prompts(self) -> dict[str, str]:
        with contextlib.closing(sqlite3.connect(self.scene.outputs / "ledger.sqlite")) as ledger:
            rows = ledger.execute("SELECT id, record FROM actions").fetchall()
        records = {action: json.loads(record) for action, record in rows}
        made = {action: arrival["made"] for action, record in records.items() for arrival in record["arrivals"]}
        return {action: image["prompt"] for action, image in made.items() if image}

    def request(self, call: str, number: int) -> bool:
        """Kill it before a system call of its talk with servers; False where it had none of that number this time."""
        self.begin()
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        ended = self.zygote.run(self.command, strace=inject)
        if ended.code != KILLED:
            # What comes in one piece or in two is the network's to say.
            assert ended.code == 0, ended.said
            return False
        self.check(f"killed before {call} {number} ({self._last(call)[:200]})")
        return True

    def moments(self, number: int, seed: str) -> int:
        """Kill it at random moments of its time, each time at most thrice before it may end; returns how many kills there were."""
        drawn, killed = random.Random(seed), 0
        while killed < number:
            killed += self._killed_at_random(drawn, min(drawn.choice((1, 1, 1, 2, 3)), number - killed))
        return killed

    def _killed_at_random(self, drawn: random.Random, most: int) -> int:
        self.begin()
        said, at, wrong = "", [], []
        for _ in range(most):
            moment = drawn.uniform(0.02, self.seconds)
            ended = self.zygote.run(self.command, inline=False, kill_after=moment)
            said += ended.said
            if ended.code != KILLED:
                break
            at.append(f"{moment:.3f}")
            wrong += self.torn_or_lost()
            if self.finished():
                break
        if not at:
            return 0
        if not self.finished():
            ended = self.zygote.run(self.command, inline=False)
            said += ended.said
            if ended.code != 0:
                wrong.append(f"given again it ends with {ended.code}: {ended.said[-500:]}")
        wrong += self.differences() + self.paid_twice(said, len(at), 2)
        if wrong:
            self.bad.append("\n  ".join([f"killed after {', '.join(at)} of {self.seconds:.3f} s", *wrong[:12]]))
        return len(at)


def command(scene_words: Sequence[str], storage: str, image: str, vision: str) -> list[str]:
    """A job by a storage, a maker of images, and who looks at them."""
    return [*scene_words, "budget.usd=5", f"vision={vision}", *STORAGES[storage], *IMAGES[image]]
