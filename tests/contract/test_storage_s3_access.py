"""How S3 is reached: credentials in both spellings, settings, one client, and what `callsheet doctor` says of it."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import pytest

from runner.errors import ItemError, MisconfiguredRun, ProviderStopped, UserError
from runner.ledger import Ledger
from runner.params import faults
from steps.backends import s3
from steps.backends.s3 import S3Settings, S3Storage
from steps.backends.s3_access import access
from tests.contract.storage_servers import KEY_ID, SECRET, Bucket, new_bucket
from tests.support import calls

ACTION = "a" * 24
HOME = PurePosixPath("actors/0001_bek")
KEY = HOME / "training_data" / "0001_bek_1.jpg"


def test_the_standard_names_and_the_aliases_are_read() -> None:
    standard = access({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"})
    assert (standard.key, standard.secret and standard.secret.get_secret_value()) == ("key", "secret")
    assert standard.token is not None
    assert standard.found == ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    alias = access({"AWS_ACCESS_KEY": "key", "AWS_ACCESS_SECRET": "secret", "AWS_REGION": "eu-west-1"})
    assert (alias.key, alias.region) == ("key", "eu-west-1")
    assert alias.found == ("AWS_ACCESS_KEY", "AWS_ACCESS_SECRET")
    both = access({"AWS_ACCESS_KEY_ID": "key", "AWS_ACCESS_KEY": "key", "AWS_ACCESS_SECRET": "secret"})
    assert both.found == ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_SECRET")


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": "", "AWS_ACCESS_SECRET": ""}, {"AWS_PROFILE": "mine"}])
def test_without_a_pair_all_is_left_to_boto3(environ: dict[str, str]) -> None:
    found = access(environ)
    assert (found.key, found.secret, found.token, found.found) == (None, None, None, ())


@pytest.mark.parametrize(
    ("environ", "naming"),
    [
        ({"AWS_ACCESS_KEY_ID": "one-key", "AWS_ACCESS_KEY": "two-key"}, "AWS_ACCESS_KEY_ID and AWS_ACCESS_KEY are both"),
        ({"AWS_SECRET_ACCESS_KEY": "one-key", "AWS_ACCESS_SECRET": "two-key"}, "AWS_SECRET_ACCESS_KEY and AWS_ACCESS_SECRET"),
        ({"AWS_DEFAULT_REGION": "one-key", "AWS_REGION": "two-key"}, "AWS_DEFAULT_REGION and AWS_REGION are both set"),
        ({"AWS_ACCESS_KEY_ID": "one-key"}, "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY (or AWS_ACCESS_SECRET) is not"),
        ({"AWS_ACCESS_SECRET": "one-key"}, "AWS_ACCESS_SECRET is set, and AWS_ACCESS_KEY_ID (or AWS_ACCESS_KEY) is not"),
    ],
)  # fmt: skip
def test_a_conflict_or_half_a_pair_is_told_by_name(environ: dict[str, str], naming: str) -> None:
    with pytest.raises(UserError) as told:
        access(environ)
    assert naming in str(told.value)
    assert "-key" not in str(told.value)


def test_without_any_credentials_the_run_is_stopped(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(
        ProviderStopped, match=r"NoCredentialsError: .*: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ):
        bucket.storage(ledger).inventory(HOME)


def test_the_region_is_the_settings_then_the_environments(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert bucket.storage(ledger)._client.meta.region_name == "eu-west-1"
    assert bucket.storage(ledger, region="eu-north-1")._client.meta.region_name == "eu-north-1"


def test_a_conflict_stops_the_storage_before_any_request(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY", "another")
    with pytest.raises(UserError, match="are both set and differ"):
        bucket.storage(ledger)


def test_the_aliases_sign(rclone: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = new_bucket(rclone, conditional=False)
    for name, value in (("ID", None), ("", KEY_ID)):
        variable = f"AWS_ACCESS_KEY_{name}".rstrip("_")
        monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ACCESS_SECRET", SECRET)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert bucket.storage(ledger).put(KEY, b"one", "image/jpeg")
    assert bucket.objects() == {str(KEY): b"one"}


@pytest.mark.parametrize(
    ("variable", "advice"),
    [("AWS_SECRET_ACCESS_KEY", "set AWS_SECRET_ACCESS_KEY"), ("AWS_ACCESS_KEY_ID", "set AWS_ACCESS_KEY_ID to a key")],
)
def test_a_wrong_key_stops_the_run(
    rclone: str,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    advice: str,
) -> None:
    bucket = new_bucket(rclone, conditional=False)
    bucket.write(str(KEY), b"one")
    monkeypatch.setenv(variable, "WRONG-but-long-enough")
    with pytest.raises(ProviderStopped) as told:
        list(bucket.storage(ledger).inventory(HOME))
    assert advice in str(told.value)
    assert bucket.name in str(told.value)
    assert "WRONG" not in str(told.value)
    assert bucket.objects() == {str(KEY): b"one"}


def test_secrets_are_in_no_log_and_no_message(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = "session-token-that-nobody-may-see"
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    caplog.set_level(logging.DEBUG)
    storage = bucket.storage(ledger)
    storage.put(KEY, b"one", "image/jpeg")
    with pytest.raises(ItemError) as told:
        storage.put(KEY, b"two", "image/jpeg")
    said = caplog.text + str(told.value) + repr(storage._access) + repr(storage._settings)
    assert SECRET not in said
    assert token not in said


@pytest.mark.parametrize(
    ("given", "naming"),
    [
        ({"bucket": "s3://cast"}, "storage.bucket = 's3://cast' is not allowed: give a bucket's name"),
        ({"bucket": "cast/data"}, "without a folder"),
        ({"bucket": ""}, "storage.bucket"),
        ({"prefix": "/cast"}, "storage.prefix = '/cast' is not allowed: give a folder like cast/data"),
        ({"prefix": "cast/../x"}, "no '..'"),
        ({"prefix": "cast//x"}, "no empty part"),
        ({"trash_prefix": ""}, "storage.trash_prefix"),
        ({"trash_prefix": "../trash"}, "storage.trash_prefix"),
        ({"endpoint_url": "127.0.0.1:9000"}, "storage.endpoint_url"),
        ({"endpoint_url": "http://me:word@127.0.0.1"}, "without user or password"),
        ({"endpoint_url": "ftp://127.0.0.1"}, "give an address like https://HOST:PORT"),
        ({"addressing": "host"}, "choose from auto, path, virtual"),
        ({"request_checksum_calculation": "never"}, "choose from when_supported, when_required"),
        ({"max_pool_connections": 0}, "give 1 or more"),
    ],
)
def test_settings_that_can_not_be_are_refused(given: dict[str, Any], naming: str) -> None:
    [told] = faults("storage", S3Settings(**{"bucket": "cast", **given}))
    assert naming in told


def test_settings_that_can_be_are_taken() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/cast"
    settings = S3Settings(arn, "cast/data/", "eu-west-1", "https://store.example:9000/below", "path")
    assert list(faults("storage", settings)) == []


def test_an_endpoint_may_stand_in_the_environment(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
    assert bucket.storage(ledger, endpoint_url=None).put(KEY, b"one", "image/jpeg")
    assert bucket.objects() == {str(KEY): b"one"}


def test_what_no_client_can_be_made_of_is_told(bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(MisconfiguredRun, match="nobodys"):
        bucket.storage(ledger).inventory(HOME)


def test_boto3_is_loaded_when_the_first_request_is_made() -> None:
    code = "import sys, steps.backends.s3; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_many_threads_share_one_client(bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    connect = s3._connect

    def counting(*given: Any) -> Any:
        made.append(connect(*given))
        return made[-1]

    monkeypatch.setattr(s3, "_connect", counting)
    storage = bucket.storage(ledger)
    keys = [HOME / f"{number}.jpg" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: storage.put(key, str(key).encode(), "image/jpeg"), keys))
    assert bucket.objects() == {str(key): str(key).encode() for key in keys}
    assert len(made) == 1
    assert made[0].meta.config.retries == {"total_max_attempts": 1, "mode": "standard"}


def needs(bucket: Bucket, **more: Any) -> list[tuple[str, bool]]:
    return [(need.what, need.met) for need in S3Storage.needs(bucket.settings(**more))]


@pytest.mark.parametrize(("versioned", "word"), [(False, "off"), (True, "on")])
def test_the_doctor_looks_at_the_bucket(moto: str, *, versioned: bool, word: str) -> None:
    bucket = new_bucket(moto, versioned=versioned)
    assert needs(bucket) == [
        ("credentials for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", True),
        (f"bucket s3://{bucket.name} can be reached", True),
        (f"versioning of s3://{bucket.name}: {word}; not needed: the trash holds copies", True),
        ("conditional writes: on", True),
    ]
    assert bucket.everything() == {}


def test_the_doctor_finds_what_is_wrong(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs(dataclasses.replace(bucket, name="no-such-bucket"))[-1] == (
        "bucket s3://no-such-bucket can be reached",
        False,
    )
    assert needs(bucket, endpoint_url="http://127.0.0.1:9")[-1] == (f"bucket s3://{bucket.name} can be reached", False)
    monkeypatch.setenv("AWS_ACCESS_KEY", "another")
    [need] = S3Storage.needs(bucket.settings())
    assert not need.met
    assert "are both set and differ" in need.advice
    for name in ("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    first = next(iter(S3Storage.needs(bucket.settings())))
    assert (first.what, first.met) == ("credentials for S3: none found", False)


@pytest.mark.parametrize("url", ["http://stranger.example:9000", "https://s3.amazonaws.com.stranger.example"])
def test_a_recipe_can_not_send_a_library_where_it_likes(
    url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = S3Storage(S3Settings(bucket="b", endpoint_url=url), calls(ledger))
    with pytest.raises(MisconfiguredRun, match="only a recipe names: set AWS_ENDPOINT_URL_S3"):
        storage.inventory(PurePosixPath("actors"))
    monkeypatch.setenv("CALLSHEET_TRUSTED_HOSTS", url.split("//")[1].split(":")[0])
    assert storage._client.meta.endpoint_url == url
