"""What the tests of both backends of jobs need: small requests, what was spent, and calls that keep what they exchange."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from runner.budget import Budget, BudgetSettings
from runner.calls import Calls
from runner.exchanges import Exchanges
from runner.ledger import Ledger
from runner.stop import Stop
from steps.backends.protocols import ImageRequest
from steps.library.pictures import Picture, encode_jpeg
from tests.fakes.server import FakeServer
from tests.support import calls

PROMPT = "30 year old woman, Үлпан 山田 🎬 Wearing: a grey suit"


def request(key: str = "action/0", **changes: Any) -> ImageRequest:
    """A small image to be made."""
    given: dict[str, Any] = {"prompt": PROMPT, "width": 64, "height": 96, "steps": 25, "seed": 7}
    return ImageRequest(key=key, **{**given, **changes})


def picture(size: tuple[int, int] = (64, 96), *, noisy: bool = False) -> Picture:
    """A reference image; a noisy one does not compress."""
    return Picture.of(Image.effect_noise(size, 100).convert("RGB") if noisy else Image.new("RGB", size, "teal"))


def jpeg() -> bytes:
    """A small file."""
    return encode_jpeg(Image.new("RGB", (32, 48), "teal"))


def kept(ledger: Ledger, folder: Path) -> Calls:
    """Calls under debug=true."""
    made = calls(ledger)
    made.exchanges = Exchanges(folder, "image=fake")
    return made


def spent(ledger: Ledger) -> tuple[float, int]:
    """US dollars and paid calls so far."""
    ledger.flush()
    return Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()


def rows(ledger: Ledger) -> list[tuple[Any, ...]]:
    """State and id of the remote jobs."""
    ledger.flush()
    return list(ledger.rows("SELECT state, remote_id FROM remote_jobs"))


def keyed_hosts(server: FakeServer[Any], key: str) -> set[str]:
    """The host names under which the server was sent the key, anywhere in a request."""
    return {
        each.host.partition(":")[0]
        for each in server.requests
        if key in str(each.headers) + each.path or key.encode() in each.body
    }


class StopsIn(Stop):
    """Stops the run in the nth wait, as a kill between two polls would."""

    def __init__(self, waits: int = 1) -> None:
        super().__init__()
        self._left = waits

    def sleep(self, seconds: float) -> None:
        from runner.errors import Interrupted

        self._left -= 1
        if self._left <= 0:
            raise Interrupted("killed between two polls")


class Hurried(Stop):
    """Waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


class Site:
    """Answers by path; a text is the place that it redirects to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []


@contextmanager
def site() -> Iterator[Site]:
    """A plain web server: `site.answers["/x"] = (status, headers, body)`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place.seen.append((self.path, dict(self.headers.items())))
            status, headers, body = place.answers.get(self.path.partition("?")[0], (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the standard library's name

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        place = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield place
        finally:
            server.shutdown()
            thread.join()
