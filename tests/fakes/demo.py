"""`make demo-cloud`: a repair in the cloud, without a key. OpenAI, Replicate and S3 are servers on this machine that speak their protocols.

python -m tests.fakes.demo
"""

from __future__ import annotations

import contextlib
import logging
import mimetypes
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer

BUCKET, PREFIX = "callsheet-demo", "cast/"
KEYS = {
    "OPENAI_API_KEY": "demo-openai-key",
    "REPLICATE_API_TOKEN": "demo-replicate-token",
    "AWS_ACCESS_KEY_ID": "demo-access-key",
    "AWS_SECRET_ACCESS_KEY": "demo-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
}
console = Console(highlight=False)


def main() -> int:
    """Draw a library, mirror it, repair it over HTTP, and say what the servers saw."""
    home = Path("outputs") / "demo_cloud" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with serving() as (openai, replicate, s3):
        environment = {
            **KEYS,
            "OPENAI_BASE_URL": openai.url,
            "REPLICATE_BASE_URL": replicate.url,
            "AWS_ENDPOINT_URL_S3": s3,
        }
        os.environ.update(environment)
        callsheet("sample", str(home))
        client = mirror(home / "data")
        before = listing(client)
        began = time.monotonic()
        code = callsheet("run", "repair_base_images", *overrides(home))
        tell(openai, replicate, before, listing(client), time.monotonic() - began)
    console.print(
        f"\nEach request and answer of the run lies in {home}/outputs/repair_base_images/latest/debug, without keys and images.\n"
        "The same on the real services: set OPENAI_API_KEY and REPLICATE_API_TOKEN, then\n"
        "  callsheet doctor repair_base_images profile=cloud\n"
        "  callsheet run repair_base_images profile=cloud data=... budget.usd=5 execute=true",
        soft_wrap=True,
    )
    return code


def overrides(home: Path) -> tuple[str, ...]:
    """What the command gets."""
    return (
        "profile=cloud",
        "storage=s3",
        f"storage.bucket={BUCKET}",
        f"storage.prefix={PREFIX}",
        f"data={home / 'data'}",
        f"outputs={home / 'outputs'}",
        "image.poll_s=0.2",
        "budget.usd=2",
        "debug=true",
        "execute=true",
        "force=true",  # a third of this small cast is broken on purpose
    )


@contextlib.contextmanager
def serving() -> Iterator[tuple[OpenAIServer, ReplicateServer, str]]:
    """The servers, until the block ends; with latencies as one has them."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    bucket.start()
    try:
        with OpenAIServer() as openai, ReplicateServer() as replicate:
            openai.set(latency=(0.1, 0.3))
            replicate.set(latency=(0.02, 0.05), polls=3)
            host, port = bucket.get_host_and_port()
            yield openai, replicate, f"http://{host}:{port}"
    finally:
        bucket.stop()


def callsheet(*words: str) -> int:
    """The real command, in a process of its own, as a person gives it."""
    console.print(f"\n[bold]$ callsheet {' '.join(words)}[/bold]", soft_wrap=True)
    return subprocess.run([sys.executable, "-m", "runner", *words], check=False).returncode


def mirror(data: Path) -> Any:
    """Put the library into the bucket, as it would lie there in real life; gives the client."""
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    files = sorted(path for path in (data / "actors").rglob("*") if path.is_file())
    for path in track(files, f"mirroring into s3://{BUCKET}/{PREFIX}", transient=True):
        key = PREFIX + path.relative_to(data).as_posix()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ContentType=kind)
    return client


def listing(client: Any) -> Mapping[str, str]:
    """Every key of the bucket with its ETag."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}


def tell(
    openai: OpenAIServer,
    replicate: ReplicateServer,
    before: Mapping[str, str],
    after: Mapping[str, str],
    seconds: float,
) -> None:
    """What the servers saw."""
    trash = f"{PREFIX}.callsheet/trash/"
    gone = [key for key in before if key not in after]
    put = [key for key, etag in after.items() if not key.startswith(trash) and before.get(key) != etag]
    asked = Counter(openai.counts) + Counter(replicate.counts)
    table = Table("what the servers saw", "", title=f"{seconds:.0f} s", title_justify="left", show_header=False)
    table.add_row("images looked at (OpenAI, chat completions)", str(asked["chat"]))
    table.add_row("predictions created (Replicate)", str(replicate.created))
    table.add_row("looks at predictions, downloads", f"{asked['get']}, {asked['output']}")
    table.add_row("requests that were not as the published schemas have them", str(len(openai.violations)))
    table.add_row("objects in the bucket, before and after", f"{len(before)}, {len(after)}")
    table.add_row(
        "put, deleted, kept in its trash", f"{len(put)}, {len(gone)}, {sum(key.startswith(trash) for key in after)}"
    )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
