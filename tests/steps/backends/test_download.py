"""Outputs by link: no key, no end of redirects, nothing but whole images."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from runner.errors import BadAnswer, ItemError, Transient
from runner.exchanges import Exchanges
from steps.backends.download import Downloads, NoImage, OutputGone
from tests.steps.backends.jobs import Site, jpeg, site

IMAGE = {"Content-Type": "image/jpeg"}


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as server:
        yield server


@pytest.fixture
def downloads(place: Site) -> Iterator[Downloads]:
    made = Downloads("vendor", place.url, 2.0, Exchanges(None, "image=vendor"))
    yield made
    made.close()


def test_an_image_comes_as_it_is(place: Site, downloads: Downloads) -> None:
    place.answers["/a"] = (200, IMAGE, jpeg())
    place.answers["/zipped"] = (200, {**IMAGE, "Content-Encoding": "gzip"}, gzip.compress(jpeg()))
    assert downloads.fetch(f"{place.url}/a") == jpeg() == downloads.fetch(f"{place.url}/zipped")
    assert not any("authorization" in map(str.lower, headers) for _, headers in place.seen)


def test_three_redirects_are_followed_and_no_more(place: Site, downloads: Downloads) -> None:
    place.answers["/0"] = (200, IMAGE, jpeg())
    for number in range(1, 5):
        place.answers[f"/{number}"] = (302, {"Location": f"/{number - 1}"}, b"")
    assert downloads.fetch(f"{place.url}/3") == jpeg()
    with pytest.raises(NoImage, match="leads from address to address"):
        downloads.fetch(f"{place.url}/4")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "gopher://x", "http://[::1"])
def test_a_redirect_goes_to_addresses_only(place: Site, downloads: Downloads, location: str) -> None:
    place.answers["/a"] = (302, {"Location": location}, b"")
    with pytest.raises((NoImage, Transient)):
        downloads.fetch(f"{place.url}/a")
    assert len(place.seen) == 1


def test_where_the_vendor_has_https_no_link_goes_without(place: Site) -> None:
    secure = Downloads("vendor", "https://api.example.com", 2.0, Exchanges(None, "image=vendor"))
    with pytest.raises(NoImage, match="no https address"):
        secure.fetch(f"{place.url}/a")
    assert place.seen == []


@pytest.mark.parametrize(
    ("answer", "outcome", "message"),
    [
        ((404, {}, b""), OutputGone, "has expired"),
        ((403, {}, b""), OutputGone, "has expired"),
        ((410, {}, b""), OutputGone, "has expired"),
        ((503, {}, b""), Transient, "503"),
        ((429, {"Retry-After": "3"}, b""), Transient, "429"),
        ((402, {}, b""), NoImage, "402"),
        ((400, {}, b""), NoImage, "400"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), BadAnswer, "a page of HTML"),
        ((200, IMAGE, b"<svg>"), NoImage, "no whole image"),
        ((200, IMAGE, b""), NoImage, "no whole image"),
        ((200, IMAGE, jpeg()[:200]), NoImage, "no whole image"),
        ((200, {**IMAGE, "Content-Encoding": "gzip"}, b"no gzip"), Transient, "DecodingError"),
    ],
)
def test_what_is_no_image_is_sorted(
    place: Site, downloads: Downloads, answer: tuple[int, dict[str, str], bytes], outcome: type[ItemError], message: str
) -> None:
    place.answers["/a"] = answer
    with pytest.raises(outcome, match=message) as caught:
        downloads.fetch(f"{place.url}/a")
    assert type(caught.value) is outcome


@pytest.mark.parametrize(
    "url", ["", "x", "https://", "http://[::1", "data:image/png;base64,AA", "http://a b/", "http://\ud800/", "//x"]
)
def test_a_link_that_is_none_is_no_image(downloads: Downloads, url: str) -> None:
    with pytest.raises((NoImage, Transient)):
        downloads.fetch(url)


def test_a_server_that_is_not_there_is_tried_again_and_not_billed(downloads: Downloads) -> None:
    with pytest.raises(Transient, match="vendor: ConnectError") as caught:
        downloads.fetch("http://127.0.0.1:9/a")
    assert not caught.value.maybe_billed
