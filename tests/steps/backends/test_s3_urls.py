"""Addresses in manifests come from many tools: each that means this bucket is known, and no other."""

from __future__ import annotations

import pytest

from steps.backends.s3_urls import Addresses

HERE = Addresses("cast", None, "us-west-1")
KEY = "lib/actors/0001_x/training_data/0001_x_1.jpg"


@pytest.mark.parametrize(
    "url",
    [
        f"https://cast.s3.us-west-1.amazonaws.com/{KEY}",
        f"https://cast.s3.amazonaws.com/{KEY}",
        f"https://cast.s3-eu-west-1.amazonaws.com/{KEY}",
        f"https://s3.us-west-1.amazonaws.com/cast/{KEY}",
        f"https://cast.s3.us-west-1.amazonaws.com/{KEY}?X-Amz-Signature=abc",
        f"s3://cast/{KEY}",
    ],
)
def test_every_form_of_this_bucket_is_known(url: str) -> None:
    assert HERE.key(url) == KEY


@pytest.mark.parametrize(
    "url",
    [
        f"https://other.s3.us-west-1.amazonaws.com/{KEY}",
        f"https://cast.s3.us-west-1.amazonaws.com.evil.example/{KEY}",
        f"https://cast.example.com/{KEY}",
        f"s3://other/{KEY}",
        f"ftp://cast.s3.amazonaws.com/{KEY}",
        "https://cast.s3.amazonaws.com/",
        "https://[broken/",
        "",
    ],
)
def test_any_other_address_is_not(url: str) -> None:
    assert HERE.key(url) is None


def test_a_store_of_ones_own_has_the_bucket_in_the_path() -> None:
    here = Addresses("cast", "http://127.0.0.1:9000", None)
    assert here.url("a b.jpg") == "http://127.0.0.1:9000/cast/a%20b.jpg"
    assert here.key(here.url(KEY)) == KEY
    assert here.key(f"http://127.0.0.1:9000/other/{KEY}") is None


def test_a_bucket_with_a_dot_has_its_name_in_the_path() -> None:
    here = Addresses("my.cast", None, "eu-central-1")
    assert here.key(here.url(KEY)) == KEY
    assert here.url("x").startswith("https://s3.eu-central-1.amazonaws.com/my.cast/")
