"""Images by Replicate: predictions that are created once, polled by their id, and fetched at once, since they are deleted after an hour."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.calls import Calls, Reply
from runner.doctor import Need, limits_need
from runner.errors import CallsheetError, ItemError, MisconfiguredRun, Refused, Transient
from runner.exchanges import Exchanges
from runner.params import at_least, between, one_of, param
from runner.rates import LimitSettings
from steps.backends import prices
from steps.backends.download import Downloads, NoImage, OutputGone
from steps.backends.protocols import ImageRequest, MadeImage
from steps.backends.replicate_client import REPLICATE, Creating, Predictions
from steps.backends.rest import DOCTOR_S, JOB_ID, NotThere, Patience, Rest, ended, sendable
from steps.backends.shapes import nearest
from steps.library.pictures import Picture, as_jpeg

MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
DEV_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21")
KONTEXT_RATIOS = (*DEV_RATIOS, "2:1", "1:2")
MAX_STEPS = 50
# With an input image the vendor allows no more.
MAX_TOLERANCE = 2
MAX_DATA_URL = 256 * 1024
REFERENCE_SIDE = 2048
ENDED = ("succeeded", "failed", "canceled", "aborted")
FLAGGED = re.compile(r"E005|flagged|nsfw|moderat|safety (checker|filter|system)", re.IGNORECASE)
# Told as temporary by the text, or by Replicate's codes: E003 high demand, E6716 and E9243 not started, E8765 unhealthy.
TEMPORARY = re.compile(
    r"interrupted|please retry|try again later|high demand|temporarily unavailable|E003|E6716|E8765|E9243",
    re.IGNORECASE,
)


def _a_model(value: str) -> str | None:
    return None if MODEL.fullmatch(value) else "give OWNER/NAME, without a version"


@dataclass(frozen=True)
class ReplicateSettings:
    """Which models draw. The token is read from REPLICATE_API_TOKEN."""

    model: str = param("black-forest-labs/flux-dev", help="draws from a prompt alone, OWNER/NAME", check=_a_model)
    model_with_reference: str = param(
        "black-forest-labs/flux-kontext-pro", help="draws from a prompt and an image, OWNER/NAME", check=_a_model
    )
    base_url: str | None = param(
        None, help="another server of the same protocol; null is REPLICATE_BASE_URL or Replicate"
    )
    key_env: str = param("REPLICATE_API_TOKEN", help="the environment variable that holds the token", operational=True)
    guidance: float = param(3.0, help="guidance scale (flux-dev)", check=between(0, 10))
    safety_tolerance: int = param(
        2, help="0 strict to 6 permissive (kontext); with a reference image at most 2 is sent", check=between(0, 6)
    )
    go_fast: bool = param(False, help="quicker (flux-dev), and not the same image for the same seed")
    output_format: str = param("png", help="of the images that come", check=one_of("png", "jpg"))
    poll_s: float = param(2.0, help="seconds between two looks at a prediction", check=at_least(0), operational=True)
    timeout_s: float = param(
        600.0, help="seconds after which a prediction is cancelled", check=at_least(0), operational=True
    )
    request_timeout_s: float = param(60.0, help="seconds for a whole answer", check=at_least(0.01), operational=True)
    prices: str | None = param(
        None, help="a price file of your own (steps/backends/prices.yaml shows its form)", operational=True
    )
    limits: LimitSettings = field(default_factory=lambda: LimitSettings(requests_per_minute=600.0))


class ReplicateImage:
    """Images by Replicate's FLUX models."""

    def __init__(self, settings: ReplicateSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        names = (settings.model, settings.model_with_reference)
        self._prices = {name: prices.read(settings.prices, "replicate", name) for name in names}
        url = REPLICATE.address(settings.base_url)
        self._rest = Rest.of(REPLICATE, url, settings.key_env, settings.request_timeout_s, calls)
        self._downloads = Downloads("replicate", url, settings.request_timeout_s, calls.exchanges)
        self._sdk = Predictions(self._rest)

    @classmethod
    def needs(cls, settings: ReplicateSettings) -> Iterable[Need]:
        """For `callsheet doctor`: the token, the models, prices and limits."""
        yield from REPLICATE.needs(settings.key_env, settings.base_url)
        url = REPLICATE.address(settings.base_url)
        for name in dict.fromkeys((settings.model, settings.model_with_reference)):
            if REPLICATE.fault(settings.key_env, url) is None:
                yield _model_need(settings, url, name)
            yield _price_need(settings, name)
        yield limits_need(settings.limits)

    @property
    def identity(self) -> str:
        """The models and all that changes what they draw."""
        ours = self._settings
        names = ("guidance", "safety_tolerance", "go_fast", "output_format")
        values = {name: getattr(ours, name) for name in names}
        return f"replicate {ours.model} {ours.model_with_reference} {json.dumps(values, sort_keys=True)}"

    def estimate(self, request: ImageRequest) -> float | None:
        """The price of one image, as the price file has it."""
        price = self._prices[self._model(request)]
        return None if price is None else price.image

    def prepare(self) -> None:
        """Find out about the token before anything is paid for; raises MisconfiguredRun."""
        self._rest.client()

    def make(self, request: ImageRequest) -> MadeImage:
        """Make one image, or fetch the one that an earlier run has paid for.

        Raises:
            Transient: The prediction came to nothing, and another may not.
            Refused: It was flagged.
            ItemError: It failed.
            ProviderStopped: No token, no credit.
        """
        model, price = self._model(request), self.estimate(request)
        sendable(request.prompt)
        job = _Prediction(model, price or 0.0, Patience(self._settings.timeout_s))
        lost_at = self._calls.remote.in_doubt_since(request.key)
        reference, creating = self._reference_of(request), Creating(self._sdk, self._rest, model, lost_at)
        return self._calls.job(
            request.key,
            create=lambda: self._create(creating, model, inputs(self._settings, model, request, reference())),
            poll=lambda remote_id: self._poll(remote_id, job),
            estimate=price,
            every_s=self._settings.poll_s,
        )

    def cancel(self, remote_id: str) -> bool:
        """Cancel a prediction; False when it had come to its end before, True also when nobody knows it any more."""
        try:
            row = self._calls.free(lambda: self._rest.ask("POST", f"{_path(remote_id)}/cancel"))
        except NotThere:
            return True
        return row.get("status") not in ("succeeded", "failed")

    def close(self) -> None:
        """Let go of the connections."""
        self._sdk.close()
        self._rest.close()
        self._downloads.close()

    def _model(self, request: ImageRequest) -> str:
        return self._settings.model if request.reference is None else self._settings.model_with_reference

    def _create(self, creating: Creating, model: str, given: Mapping[str, Any]) -> str:
        try:
            return creating.once(given)
        except NotThere as error:
            raise MisconfiguredRun(f"{error}: is there a model {model}? Correct image.model") from error

    def _reference_of(self, request: ImageRequest) -> Callable[[], str | None]:
        """Gives the reference as a URL; uploaded once, however often the create is tried."""
        kept: list[str] = []

        def reference() -> str | None:
            if request.reference is not None and not kept:
                kept.append(self._url_of(request.reference))
            return kept[0] if kept else None

        return reference

    def _url_of(self, picture: Picture) -> str:
        data = as_jpeg(picture, long_side=REFERENCE_SIDE, quality=95)
        url = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
        return url if len(url) < MAX_DATA_URL else self._sdk.upload(data)

    def _poll(self, remote_id: str, job: _Prediction) -> Reply[MadeImage] | None:
        try:
            row = self._rest.ask("GET", _path(remote_id))
            if row.get("status") not in ENDED and job.patience.is_over():
                row = self._given_up(remote_id)
        except NotThere as error:
            raise ended(
                ItemError(f"{error}: prediction {remote_id} is gone: the next try makes another"), 0.0
            ) from error
        if row.get("status") not in ENDED:
            return None
        return self._result(row, remote_id, job)

    def _given_up(self, remote_id: str) -> dict[str, Any]:
        """Cancel what takes too long; the prediction, if it came to its end meanwhile."""
        row = self._rest.ask("POST", f"{_path(remote_id)}/cancel")
        if row.get("status") in ("succeeded", "failed"):
            return row
        message = (
            f"replicate: no end after {self._settings.timeout_s:g} s (timeout_s): cancelled, the next try makes another"
        )
        raise ended(ItemError(message), 0.0)

    def _result(self, row: Mapping[str, Any], remote_id: str, job: _Prediction) -> Reply[MadeImage]:
        if row["status"] != "succeeded":
            raise ended(_failure(row), 0.0)
        url = _link(row, remote_id, job)
        try:
            data = self._downloads.fetch(url)
        except OutputGone as error:
            raise _made_again(job, str(error)) from error
        except NoImage as error:
            raise ended(error, job.usd)  # noqa: B904 - the same error
        return Reply(MadeImage(data, job.model, job.usd), job.usd)


@dataclass(frozen=True)
class _Prediction:
    """What is known of a prediction beside its id."""

    model: str
    usd: float
    patience: Patience


def inputs(settings: ReplicateSettings, model: str, request: ImageRequest, reference: str | None) -> dict[str, Any]:
    """A prediction's input, in the words of the model's family."""
    common = {"prompt": request.prompt, "seed": request.seed, "output_format": settings.output_format}
    size = (request.width, request.height)
    if reference is None and "kontext" not in model:
        return {
            **common,
            "aspect_ratio": nearest(*size, DEV_RATIOS),
            "num_inference_steps": min(request.steps, MAX_STEPS),
            "guidance": settings.guidance,
            "go_fast": settings.go_fast,
            "megapixels": "1",
            "num_outputs": 1,
        }
    image = {} if reference is None else {"input_image": reference}
    most = 6 if reference is None else MAX_TOLERANCE
    tolerance = min(settings.safety_tolerance, most)
    return {**common, **image, "aspect_ratio": nearest(*size, KONTEXT_RATIOS), "safety_tolerance": tolerance}


def _path(remote_id: str) -> str:
    if not JOB_ID.fullmatch(remote_id):
        raise ended(ItemError(f"replicate: {remote_id[:80]!r} is no prediction's id: the next try makes another"), 0.0)
    return f"/v1/predictions/{remote_id}"


def _failure(row: Mapping[str, Any]) -> ItemError:
    """What became of a prediction that has no output. None of these is billed."""
    text = " ".join(str(row.get("error") or "no reason was given").split())[:300]
    if row["status"] == "aborted":
        return Transient("replicate: the prediction was aborted before it ran")
    if row["status"] == "canceled":
        return ItemError("replicate: the prediction was canceled at the vendor's: the next try makes another")
    if FLAGGED.search(text):
        return Refused(f"replicate: {text}")
    return Transient(f"replicate: {text}") if TEMPORARY.search(text) else ItemError(f"replicate: {text}")


def _link(row: Mapping[str, Any], remote_id: str, job: _Prediction) -> str:
    output = row.get("output")
    link = output[0] if isinstance(output, list) and output else output
    if isinstance(link, str):
        return link
    if row.get("data_removed"):
        raise _made_again(job, f"replicate: prediction {remote_id}")
    raise ended(ItemError(f"replicate: prediction {remote_id} succeeded without an image: {str(output)[:80]}"), job.usd)


def _made_again(job: _Prediction, what: str) -> Transient:
    return ended(Transient(f"{what}: the output is gone (kept for one hour); made again"), job.usd)


def _price_need(settings: ReplicateSettings, name: str) -> Need:
    try:
        price = prices.read(settings.prices, "replicate", name)
    except MisconfiguredRun as error:
        return Need(f"price of {name}", met=False, advice=str(error))
    if price is None or price.image is None:
        return Need(f"price of {name}", met=True, advice="unknown: budget.usd can't be used without one (prices: FILE)")
    return Need(f"price of {name}: ${price.image:g} an image, as of {price.as_of}", met=True)


def _model_need(settings: ReplicateSettings, url: str, name: str) -> Need:
    timeout_s = min(DOCTOR_S, settings.request_timeout_s)
    rest = Rest(REPLICATE, url, settings.key_env, timeout_s=timeout_s, exchanges=Exchanges(None, "doctor"))
    try:
        rest.ask("GET", f"/v1/models/{name}")
    except CallsheetError as error:
        return Need(f"model {name}", met=False, advice=str(error))
    finally:
        rest.close()
    return Need(f"model {name}", met=True)
