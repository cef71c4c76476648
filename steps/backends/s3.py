"""Storage in a bucket of S3, or of a store that speaks its language.

Objects go to the trash by being copied below the trash's prefix, on versioned buckets too: a copy is the same everywhere, can be listed
and put back by anybody, needs no right to delete versions, and is not subject to rules that expire old versions. What the bucket keeps
of its own accord is one more net.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from runner.calls import Calls
from runner.doctor import Need
from runner.errors import ItemError, MisconfiguredRun, UserError
from runner.params import at_least, one_of, param
from steps.backends.credentials import TRUSTED, trusted
from steps.backends.s3_access import Access, access
from steps.backends.s3_errors import Missing, Unmet, sorted_out
from steps.backends.s3_names import Names, clean_folder, clean_trash
from steps.backends.s3_urls import Addresses
from steps.library.mirror import StoredObject

SHA256 = "callsheet-sha256"
CHUNK_BYTES = 1 << 20
LARGEST_BYTES = 256 << 20
LOOK_CONNECT_S, LOOK_READ_S = 3.0, 5.0
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
K = TypeVar("K")
WHEN = ("when_supported", "when_required")


def _plain_bucket(value: str) -> str | None:
    plain = (
        value and "://" not in value and not value.startswith("/") and (value.startswith("arn:") or "/" not in value)
    )
    return None if plain else "give a bucket's name (or an access point's ARN), without s3:// and without a folder"


def _plain_endpoint(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    plain = parts.scheme in {"http", "https"} and parts.hostname and "@" not in value
    return None if plain else "give an address like https://HOST:PORT, without user or password"


@dataclass(frozen=True)
class S3Settings:
    """Where the mirror is. Keys are read from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""

    bucket: str = param(help="the bucket that mirrors the library", check=_plain_bucket)
    prefix: str = param(
        "", help="folder in the bucket; a file's key is this and its path below data", check=clean_folder
    )
    region: str | None = param(None, help="the bucket's region; null takes AWS_DEFAULT_REGION or the profile's")
    endpoint_url: str | None = param(
        None, help="address of a store other than AWS; null takes AWS_ENDPOINT_URL_S3 or AWS", check=_plain_endpoint
    )
    addressing: str = param(
        "auto", help="bucket in the path or in the host's name", check=one_of("auto", "path", "virtual")
    )
    trash_prefix: str = param(
        ".callsheet/trash/", help="folder below the prefix where objects go to the trash", check=clean_trash
    )
    conditional_writes: bool = param(
        True, help="the store knows If-Match and If-None-Match; false looks before it writes and trusts that"
    )
    request_checksum_calculation: str = param(
        "when_supported", help="checksums that are sent: when_required for stores that refuse them", check=one_of(*WHEN)
    )
    response_checksum_validation: str = param(
        "when_supported", help="checksums that are checked on reading", check=one_of(*WHEN)
    )
    max_pool_connections: int = param(
        64, help="connections at once; at least `workers`", check=at_least(1), operational=True
    )
    connect_timeout_s: float = param(
        10.0, help="seconds to wait for a connection", check=at_least(0.1), operational=True
    )
    read_timeout_s: float = param(60.0, help="seconds to wait for an answer", check=at_least(0.1), operational=True)


class S3Storage:
    """Mirrors the library in a bucket."""

    def __init__(self, settings: S3Settings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._access = access()
        self._names = Names.of(settings.bucket, settings.prefix, settings.trash_prefix)
        self._addresses = Addresses(settings.bucket, settings.endpoint_url, settings.region or self._access.region)
        self._opening = threading.Lock()
        self._opened: Any = None

    @classmethod
    def needs(cls, settings: S3Settings) -> Iterable[Need]:
        """For `callsheet doctor`: looks at the bucket, and changes nothing."""
        try:
            found = access()
            client = _connect(settings, found, (LOOK_CONNECT_S, LOOK_READ_S))
        except UserError as error:
            yield Need("credentials for S3", met=False, advice=str(error))
            return
        yield _credentials(found)
        where = f"s3://{settings.bucket}"
        try:
            with _sorting(f"HeadBucket {where}"):
                client.head_bucket(Bucket=settings.bucket)
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            yield Need(f"bucket {where} can be reached", met=False, advice=str(error))
            return
        yield Need(f"bucket {where} can be reached", met=True)
        yield Need(
            f"versioning of {where}: {_versioning(client, settings.bucket)}; not needed: the trash holds copies",
            met=True,
        )
        known = "on" if settings.conditional_writes else "off: between look and write somebody else could write"
        yield Need(f"conditional writes: {known}", met=True)

    def inventory(self, folder: PurePosixPath) -> Iterable[StoredObject]:
        """The objects below a folder of the library, without those whose key is no clean path."""
        found = self._listed(self._names.key(folder) + "/", self._names.path)
        return [item for item in found if item.key.is_relative_to(folder)]

    def holding(self, key: PurePosixPath, sha256: str) -> StoredObject | None:
        """The object at a key if its bytes, read whole, have that hash: what its metadata says is not relied on."""
        full = self._names.key(key)
        try:
            digest, item = self._read(full, key)
        except Missing:
            return None
        return item if digest == sha256 else None

    def find(self, key: PurePosixPath) -> StoredObject | None:
        """By HeadObject."""
        return self._head(self._names.key(key), key)

    def get(self, item: StoredObject) -> bytes:
        """Read an object whole, if it still is the one that was seen."""
        full = self._names.key(item.key)
        if item.size > LARGEST_BYTES:
            raise ItemError(f"{self._names.url(full)} has {item.size} bytes: at most {LARGEST_BYTES} are fetched")
        data, standing = self._fetched(full, item.key, bytearray, bytearray.extend)
        if not _same(standing, item):
            raise ItemError(f"{self._names.url(full)} has changed since it was listed")
        return bytes(data)

    def to_trash(self, item: StoredObject, action: str) -> bool:
        """Copy an object with its metadata to the trash, if it still is what the plan saw."""
        target = self._names.trash_key(item.key, action)
        kept = self._head(target, item.key)
        if kept is not None and kept.size == item.size:
            return True
        full = self._names.key(item.key)
        standing = self._head(full, item.key)
        if standing is None:
            return False
        if not _same(standing, item):
            raise ItemError(f"{self._names.url(full)} has changed since the plan was made")
        self._copy(full, target, standing)
        return True

    def put(self, key: PurePosixPath, data: bytes, media_type: str, replaces: StoredObject | None = None) -> bool:
        """Store an object with its hash in the metadata; true also when an earlier try has stored it."""
        full, sha256 = self._names.key(key), hashlib.sha256(data).hexdigest()
        standing = self._head(full, key)
        expected = standing is None or (replaces is not None and _same(standing, replaces))
        if expected:
            about = {"Body": data, "ContentType": media_type, "Metadata": {SHA256: sha256}}
            try:
                self._ask("put_object", full, **about, **self._condition(standing))
            except (Unmet, Missing):
                # Another writer came between, or an earlier request got through whose answer was lost.
                expected = False
        if not expected and self.holding(key, sha256) is None:
            change = "has appeared" if replaces is None else "has changed"
            raise ItemError(f"{self._names.url(full)} {change} since the plan was made")
        return True

    def delete(self, item: StoredObject) -> bool:
        """Delete one object if it still is the one that was seen; never several at once, which no store does by ETag."""
        full = self._names.key(item.key)
        standing = self._head(full, item.key)
        if standing is None:
            return False
        changed = ItemError(f"{self._names.url(full)} has changed since, and is not deleted")
        if not _same(standing, item):
            raise changed
        try:
            self._ask("delete_object", full, **self._condition(standing))
        except Missing:
            # By an earlier request whose answer was lost, or by somebody else.
            pass
        except Unmet as error:
            raise changed from error
        return True

    def in_trash(self, action: str) -> Iterable[StoredObject]:
        """The copies that the trash of an action holds."""
        return self._listed(self._names.trash_folder(action), lambda key: self._names.path_in_trash(key, action))

    def can_return(self, item: StoredObject, action: str) -> bool:
        """By ETag where that says it; else by the bytes, for a copy may have another ETag than its source (parts, encryption)."""
        standing = self._head(self._names.key(item.key), item.key)
        if standing is None or _same(standing, item):
            return True
        if standing.size != item.size:
            return False
        digest, _ = self._read(self._names.trash_key(item.key, action), item.key)
        return self.holding(item.key, digest) is not None

    def restore(self, item: StoredObject, action: str) -> None:
        """Copy an object back with its metadata, where nothing stands."""
        full = self._names.key(item.key)
        if self._head(full, item.key) is None:
            try:
                self._copy(self._names.trash_key(item.key, action), full, item, onto_nothing=True)
            except Unmet:
                # Something stands there after all: perhaps a copy of ours whose answer was lost.
                pass
            else:
                return
        if not self.can_return(item, action):
            raise ItemError(f"{self._names.url(full)} has appeared since: move it aside")

    def empty_trash(self, action: str) -> None:
        """Delete the copies of an action, one by one."""
        for item in list(self.in_trash(action)):
            self._ask("delete_object", self._names.trash_key(item.key, action))

    def address(self, key: PurePosixPath) -> str:
        """As s3://bucket/key."""
        return self._names.url(self._names.key(key))

    def trash_address(self, action: str) -> str:
        """As s3://bucket/prefix/."""
        return self._names.url(self._names.trash_folder(action))

    def url(self, key: PurePosixPath) -> str | None:
        """The object's web address, as the documents note it."""
        return self._addresses.url(self._names.key(key))

    def path_of(self, url: str) -> PurePosixPath | None:
        """Of a web address of this bucket in any form, or s3://."""
        key = self._addresses.key(url)
        return None if key is None or not key.startswith(self._names.prefix) else self._names.path(key)

    @property
    def _client(self) -> Any:
        """One for all threads; made when the first request is."""
        with self._opening:
            if self._opened is None:
                times = (self._settings.connect_timeout_s, self._settings.read_timeout_s)
                self._opened = _connect(self._settings, self._access, times)
            return self._opened

    def _ask(self, operation: str, key: str | None, **parameters: Any) -> dict[str, Any]:
        """Make one request, again while it is worth it."""
        if key is not None:
            parameters["Key"] = key
        what = f"storage=s3: {operation} {self._names.url(key or '')}"

        def send() -> dict[str, Any]:
            with _sorting(what):
                answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._names.bucket, **parameters)
                return answer

        return self._calls.free(send)

    def _head(self, full: str, key: PurePosixPath) -> StoredObject | None:
        try:
            return _stored(key, self._ask("head_object", full), "ContentLength")
        except Missing:
            return None

    def _read(self, full: str, key: PurePosixPath) -> tuple[str, StoredObject]:
        """The SHA-256 of an object's bytes, and the object that they were read from."""
        digest, standing = self._fetched(full, key, hashlib.sha256, lambda digest, chunk: digest.update(chunk))
        return digest.hexdigest(), standing

    def _fetched(
        self, full: str, key: PurePosixPath, new: Callable[[], K], take: Callable[[K, bytes], object]
    ) -> tuple[K, StoredObject]:
        """Read an object by chunks into something new, for each try; returns it, and the object that it was read from."""
        what = f"storage=s3: get_object {self._names.url(full)}"

        def send() -> tuple[K, StoredObject]:
            kept = new()
            with _sorting(what):
                answer = self._client.get_object(Bucket=self._names.bucket, Key=full)
                with contextlib.closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(CHUNK_BYTES):
                        self._calls.stop.check()
                        take(kept, chunk)
            return kept, _stored(key, answer, "ContentLength")

        return self._calls.free(send)

    def _copy(self, source: str, target: str, item: StoredObject, *, onto_nothing: bool = False) -> None:
        """Copy within the bucket, and look whether it has arrived whole: what it was copied from may be deleted next."""
        conditions = {"CopySourceIfMatch": _quoted(item.etag)} if item.etag else {}
        if onto_nothing:
            conditions |= self._condition(None)
        origin = {"Bucket": self._names.bucket, "Key": source}
        self._ask("copy_object", target, CopySource=origin, **conditions)
        copied = self._head(target, item.key)
        if copied is None or copied.size != item.size:
            raise ItemError(
                f"{self._names.url(source)} was copied to {self._names.url(target)}, and is not there whole"
            )

    def _condition(self, standing: StoredObject | None) -> dict[str, str]:
        if not self._settings.conditional_writes:
            return {}
        if standing is None:
            return {"IfNoneMatch": "*"}
        return {"IfMatch": _quoted(standing.etag)} if standing.etag else {}

    def _listed(self, folder: str, path_of: Callable[[str], PurePosixPath | None]) -> list[StoredObject]:
        entries = [entry for page in self._pages(folder) for entry in page.get("Contents", ())]
        paths = [path_of(entry["Key"]) for entry in entries]
        return [_stored(path, entry, "Size") for path, entry in zip(paths, entries, strict=True) if path is not None]

    def _pages(self, folder: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", None, Prefix=folder, **more)
            following = page.get("NextContinuationToken")
            if "IsTruncated" not in page or (
                page["IsTruncated"] and following in (None, more.get("ContinuationToken"))
            ):
                # A login page with status 200 would else be an empty bucket, and a plan would leave out what must go.
                raise ItemError(f"storage=s3: what came is no list of {self._names.url(folder)}: a proxy on the way?")
            yield page
            if not page["IsTruncated"]:
                return
            more = {"ContinuationToken": str(following)}


@contextlib.contextmanager
def _sorting(what: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into the engine's outcomes."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise sorted_out(error, what) from error


def _at_aws(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _connect(settings: S3Settings, found: Access, times: tuple[float, float]) -> Any:
    """A client that tries once: retries are the run's.

    Raises:
        MisconfiguredRun: Settings or AWS_* variables that no client can be made of, or an address that only a recipe names.
    """
    import boto3

    url = settings.endpoint_url
    if url is not None and not _at_aws(url) and not trusted(url, *ENDPOINTS):
        raise MisconfiguredRun(
            f"storage.endpoint_url = {url}: no library goes to a host that only a recipe names: set {ENDPOINTS[0]}={url}, "
            f"or {TRUSTED}={urlsplit(url).hostname}"
        )
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # At its most talkative it would log session tokens.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=settings.max_pool_connections,
        connect_timeout=times[0],
        read_timeout=times[1],
        request_checksum_calculation=settings.request_checksum_calculation,
        response_checksum_validation=settings.response_checksum_validation,
        s3={"addressing_style": settings.addressing},
    )
    try:
        return boto3.session.Session().client(
            "s3",
            region_name=settings.region or found.region,
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=found.key,
            aws_secret_access_key=found.secret.get_secret_value() if found.secret else None,
            aws_session_token=found.token.get_secret_value() if found.token else None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise MisconfiguredRun(f"storage=s3: {error}: check the storage settings and the AWS_* variables") from error


def _credentials(found: Access) -> Need:
    if found.found:
        return Need(f"credentials for S3: {', '.join(found.found)}", met=True)
    import boto3

    with _sorting("storage=s3"):
        chain = boto3.session.Session().get_credentials()
    if chain is not None:
        return Need(f"credentials for S3: {chain.method}", met=True)
    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return Need("credentials for S3: none found", met=False, advice=advice)


def _versioning(client: Any, bucket: str) -> str:
    try:
        with _sorting("GetBucketVersioning"):
            return "on" if client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled" else "off"
    except Exception:  # noqa: BLE001 - a right that few have, and nothing depends on it
        return "not known"


def _stored(key: PurePosixPath, about: dict[str, Any], size: str) -> StoredObject:
    return StoredObject(key, int(about[size]), str(about.get("ETag") or "").strip('"') or None)


def _quoted(etag: str | None) -> str:
    return f'"{etag}"'


def _same(standing: StoredObject, item: StoredObject) -> bool:
    """Whether an object is the one that was seen: by ETag, and by its size where the store gives none."""
    return standing.etag == item.etag and standing.size == item.size
