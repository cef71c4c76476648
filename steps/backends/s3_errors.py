"""What S3 and botocore say, sorted once into the engine's outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import CallsheetError, ItemError, ProviderStopped, Transient

THROTTLED = frozenset(
    {
        "SlowDown",
        "TooManyRequests",
        "TooManyRequestsException",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
    }
    | {"RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "BandwidthLimitExceeded", "429"}
)
AGAIN = frozenset(
    {"RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "ConditionalRequestConflict"}
    | {"OperationAborted", "BadDigest", "IncompleteBody"}
)
# What stops the run, and what a person does about it.
STOPS: Mapping[str, str] = {
    "AccessDenied": "give these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix",
    "403": "give these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix",
    "AllAccessDisabled": "the bucket's owner has to open it again",
    "AccountProblem": "look into the account",
    "InvalidAccessKeyId": "set AWS_ACCESS_KEY_ID to a key that this endpoint knows",
    "SignatureDoesNotMatch": "set AWS_SECRET_ACCESS_KEY to the secret of AWS_ACCESS_KEY_ID",
    "ExpiredToken": "get new credentials (AWS_SESSION_TOKEN has expired)",
    "InvalidToken": "get new credentials (AWS_SESSION_TOKEN is not valid)",
    "TokenRefreshRequired": "get new credentials (AWS_SESSION_TOKEN has expired)",
    "401": "check the credentials",
    "RequestTimeTooSkewed": "set this machine's clock",
    "NoSuchBucket": "check storage.bucket, storage.region and storage.endpoint_url",
    "InvalidBucketName": "check storage.bucket",
    "PermanentRedirect": "set storage.region to the bucket's region",
    "301": "set storage.region to the bucket's region",
    "AuthorizationHeaderMalformed": "set storage.region to the bucket's region",
    "IllegalLocationConstraintException": "set storage.region to the bucket's region",
    "NotImplemented": "this store lacks it: storage.conditional_writes=false and checksums when_required may help",
}  # fmt: skip
MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
UNMET = frozenset({"PreconditionFailed", "412"})


class Missing(ItemError):
    """There is no such object."""


class Unmet(ItemError):
    """The condition of a request does not hold: the object is another one than was said."""


def sorted_out(error: Exception, what: str) -> CallsheetError:
    """The engine's outcome for anything that boto3 raises.

    Args:
        error: A botocore or boto3 exception.
        what: The operation and where, for the message: "HeadObject s3://bucket/key".
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _answered(error.response, what)
    return _unanswered(error, what)


def _answered(response: Mapping[str, Any], what: str) -> CallsheetError:
    about, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(about.get("Code", "")), int(meta.get("HTTPStatusCode") or 0)
    message = f"{what}: {code or status}: {about.get('Message') or 'no reason given'}"
    if code in MISSING:
        return Missing(message)
    if code in UNMET or status == 412:
        return Unmet(message)
    if code in STOPS:
        return ProviderStopped(f"{message}: {STOPS[code]}")
    if code in THROTTLED or status == 429:
        return Transient(message, retry_after=_retry_after(meta), throttled=True)
    if code in AGAIN or status >= 500 or status == 408:
        return Transient(message, retry_after=_retry_after(meta))
    return ItemError(message)


def _retry_after(meta: Mapping[str, Any]) -> float | None:
    try:
        return float(meta.get("HTTPHeaders", {})["retry-after"])
    except (KeyError, ValueError):
        return None


def _unanswered(error: Exception, what: str) -> CallsheetError:
    """No answer came, or none that could be read; or the request was never sent."""
    from botocore import exceptions

    again = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.ResponseStreamingError,
        exceptions.ChecksumError,
        exceptions.FlexibleChecksumError,
    )
    without_credentials = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
        exceptions.LoginError,
    )
    message = f"{what}: {type(error).__name__}: {error}"
    if isinstance(error, exceptions.SSLError):
        return ProviderStopped(f"{message}: check storage.endpoint_url and the certificates (AWS_CA_BUNDLE)")
    if isinstance(error, again):
        return Transient(message)
    if isinstance(error, without_credentials):
        return ProviderStopped(
            f"{message}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in as AWS_PROFILE says"
        )
    return ProviderStopped(f"{message}: check the storage settings and the AWS_* variables")
