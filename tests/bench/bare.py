"""The least that could be done: as many calls as asked for, with as many threads, and nothing kept.

python -m tests.bench.bare sdk|aiohttp URL WORKERS COUNT [FOLDER OF IMAGES]
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import openai

from steps import judging


def main(client: str, url: str, workers: str, count: str, folder: str | None = None) -> None:
    """Print how long it took as JSON."""
    images = sorted(Path(folder).rglob("*_base.jpg")) if folder else []
    run = by_sdk if client == "sdk" else by_aiohttp
    began = time.monotonic()
    run(url, int(workers), int(count), images)
    print(json.dumps({"seconds": time.monotonic() - began}))


def by_sdk(url: str, workers: int, count: int, images: list[Path]) -> None:
    """The openai package in a thread pool."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client, ThreadPoolExecutor(workers) as pool:

        def ask(number: int) -> Any:
            completion: Any = client.chat.completions.create(**request(images[number] if images else None))
            return completion.choices[0].message.content

        kept = list(pool.map(ask, range(count)))
    assert all(json.loads(text or "") for text in kept)


def by_aiohttp(url: str, workers: int, count: int, images: list[Path]) -> None:
    """aiohttp with as many calls at once."""

    async def run() -> None:
        gate = asyncio.Semaphore(workers)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=workers)) as session:

            async def ask(number: int) -> Any:
                async with (
                    gate,
                    session.post(
                        f"{url}/chat/completions",
                        json=request(images[number] if images else None),
                        headers={"Authorization": "Bearer none"},
                    ) as answer,
                ):
                    return json.loads((await answer.json())["choices"][0]["message"]["content"])

            await asyncio.gather(*(ask(number) for number in range(count)))

    asyncio.run(run())


def request(image: Path | None) -> dict[str, Any]:
    """What Callsheet sends for the same question."""
    text = judging.PROMPT.replace("{description}", "30 year old man").replace("{outfit}", "a grey suit")
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if image is not None:
        data = base64.b64encode(image.read_bytes()).decode("ascii")
        shown = {"url": f"data:image/jpeg;base64,{data}", "detail": "high"}
        content.append({"type": "image_url", "image_url": shown})
    form = {"name": "base_image", "strict": True, "schema": judging.SCHEMA}
    return {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": form},
        "max_completion_tokens": 500,
        "temperature": 0.2,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
