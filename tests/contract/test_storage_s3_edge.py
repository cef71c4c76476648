"""S3's edge: whatever boto3 raises or a store answers becomes one of the engine's outcomes."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from runner.errors import CallsheetError, ItemError, ProviderStopped, Transient
from runner.ledger import Ledger
from steps.backends import s3
from steps.backends.s3 import S3Settings, S3Storage
from steps.backends.s3_errors import Missing, Unmet, sorted_out
from tests.contract.storage_servers import Bucket
from tests.support import calls

ACTION = "a" * 24
HOME = PurePosixPath("actors/0001_bek")
KEY = HOME / "training_data" / "0001_bek_1.jpg"


def everything_that_boto3_raises() -> list[type[Exception]]:
    import boto3.exceptions
    import botocore.exceptions

    named = [value for module in (botocore.exceptions, boto3.exceptions) for value in vars(module).values()]
    found = {
        kind
        for kind in named
        if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    }
    # Faults in botocore's own data, which no request raises.
    found -= {kind for kind in found if issubclass(kind, botocore.exceptions.UndefinedModelAttributeError)}
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", everything_that_boto3_raises(), ids=lambda kind: kind.__name__)
def test_nothing_that_boto3_raises_passes_unsorted(storage: S3Storage, kind: type[Exception]) -> None:
    from botocore.exceptions import ClientError

    error = kind.__new__(kind)
    error.args = ("what was said",)
    if isinstance(error, ClientError):
        error.response = {"Error": {"Code": "Odd"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    with pytest.raises(CallsheetError, match="storage=s3: head_object s3://"):
        storage._calls.free(lambda: _raised(error, "storage=s3: head_object s3://bucket/key"))


def _raised(error: Exception, what: str) -> None:
    with s3._sorting(what):
        raise error


def answered(code: str, status: int, **headers: str) -> CallsheetError:
    from botocore.exceptions import ClientError

    response = {
        "Error": {"Code": code, "Message": "said so"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return sorted_out(ClientError(response, "PutObject"), "put_object s3://bucket/key")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, Transient),
        ("ServiceUnavailable", 503, Transient),
        ("503", 503, Transient),
        ("InternalError", 500, Transient),
        ("InternalError", 200, Transient),
        ("500", 500, Transient),
        ("RequestTimeout", 400, Transient),
        ("TooManyRequests", 429, Transient),
        ("429", 429, Transient),
        ("ConditionalRequestConflict", 409, Transient),
        ("OperationAborted", 409, Transient),
        ("PreconditionFailed", 412, Unmet),
        ("412", 412, Unmet),
        ("NoSuchKey", 404, Missing),
        ("404", 404, Missing),
        ("NoSuchBucket", 404, ProviderStopped),
        ("AccessDenied", 403, ProviderStopped),
        ("403", 403, ProviderStopped),
        ("InvalidAccessKeyId", 403, ProviderStopped),
        ("SignatureDoesNotMatch", 403, ProviderStopped),
        ("ExpiredToken", 400, ProviderStopped),
        ("RequestTimeTooSkewed", 403, ProviderStopped),
        ("PermanentRedirect", 301, ProviderStopped),
        ("NotImplemented", 501, ProviderStopped),
        ("InvalidObjectState", 403, ItemError),
        ("KeyTooLongError", 400, ItemError),
        ("EntityTooLarge", 400, ItemError),
        ("Odd", 418, ItemError),
    ],
)
def test_answers_are_sorted(code: str, status: int, kind: type[Exception]) -> None:
    error = answered(code, status)
    assert type(error) is kind
    assert f"put_object s3://bucket/key: {code}: said so" in str(error)
    if isinstance(error, Transient):
        assert error.throttled == (code in {"SlowDown", "TooManyRequests", "429"})


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None)])
def test_a_wait_that_the_server_asks_for_is_heard(header: str, seconds: float | None) -> None:
    error = answered("SlowDown", 503, **{"retry-after": header})
    assert isinstance(error, Transient)
    assert error.retry_after == seconds


def answering(storage: S3Storage, operation: str, *statuses: int) -> list[int]:
    """Let the store answer so before it answers as it should; what was answered is noted."""
    from botocore.awsrequest import AWSResponse

    left, given = list(statuses), []

    class Raw(io.BytesIO):
        def stream(self, *_given: Any, **_more: Any) -> Iterator[bytes]:
            yield self.read()

    def answer(request: Any, **_more: Any) -> Any:
        given.append(left[0] if left else 200)
        return AWSResponse(request.url, left.pop(0), {}, Raw(b"")) if left else None

    storage._client.meta.events.register(f"before-send.s3.{operation}", answer)
    return given


def test_a_busy_store_is_asked_again(bucket: Bucket, storage: S3Storage) -> None:
    given = answering(storage, "PutObject", 503, 500)
    assert storage.put(KEY, b"one", "image/jpeg")
    assert given == [503, 500, 200]
    assert bucket.objects() == {str(KEY): b"one"}


def test_a_store_that_stays_busy_fails_the_item(bucket: Bucket, storage: S3Storage) -> None:
    bucket.write(str(KEY), b"one")
    [item] = storage.inventory(HOME)
    given = answering(storage, "DeleteObject", *[503] * 9)
    with pytest.raises(
        ItemError, match=rf"delete_object s3://{bucket.name}/{KEY}: 503: .* \(gave up after 3 attempts\)"
    ):
        storage.delete(item)
    assert given == [503] * 3
    assert bucket.objects() == {str(KEY): b"one"}


def test_a_store_that_is_not_there_fails_the_item(ledger: Ledger) -> None:
    storage = S3Storage(S3Settings("cast", endpoint_url="http://127.0.0.1:9"), calls(ledger))
    with pytest.raises(ItemError, match=r"list_objects_v2 s3://cast/: EndpointConnectionError: .*gave up after 3"):
        storage.inventory(HOME)


def test_a_bucket_that_is_not_there_stops_the_run(bucket: Bucket, ledger: Ledger) -> None:
    with pytest.raises(ProviderStopped, match=r"s3://no-such-bucket/: NoSuchBucket: .*check storage\.bucket"):
        bucket.storage(ledger, bucket="no-such-bucket").inventory(HOME)
