"""Every fault that the servers can be told to commit, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OK = "ok"
OPENAI, REPLICATE, RUNPOD = "openai", "replicate", "runpod"
ALL = (OPENAI, REPLICATE, RUNPOD)


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and which servers can do it."""

    description: str
    servers: tuple[str, ...] = ALL
    routes: tuple[str, ...] = ()  # Empty: any


_CHAT = ("chat",)
_IMAGES = ("images", "edits")
_CREATE = ("create",)
_RUN = ("run", "runsync")

FAULTS: Mapping[str, Fault] = {
    "429": Fault("429 over the rate, without Retry-After (on Replicate's POSTs: 'resets in ~30s' in the detail)"),
    "429_after": Fault("429 with Retry-After and retry-after-ms (setting retry_after_s)"),
    "429_long": Fault("429 with Retry-After: 300"),
    "429_slow_down": Fault("429 slow_down", (OPENAI,)),
    "429_quota": Fault("429 insufficient_quota: no further call can work", (OPENAI,)),
    "429_credit": Fault("429 credit_balance_exhausted", (OPENAI,)),
    "429_spend_limit": Fault("429 project_spend_limit_exceeded", (OPENAI,)),
    "429_org_limit": Fault("429 organization_usage_limit_exceeded", (OPENAI,)),
    "401": Fault("401, the key is wrong"),
    "401_echo": Fault("401 whose message repeats the whole key, as some gateways do"),
    "402": Fault("402, no credit left", (REPLICATE, RUNPOD)),
    "403": Fault("403, not allowed"),
    "400": Fault("400, a bad request"),
    "404": Fault("404"),
    "408": Fault("408, the server's own time-out"),
    "409": Fault("409, a conflict"),
    "422": Fault("422, an input is not valid"),
    "500": Fault("500 with the vendor's error body"),
    "502_html": Fault("502 with a gateway's HTML page"),
    "503": Fault("503, overloaded"),
    "html_200": Fault("200 with a page of HTML (a proxy's login page)"),
    "cut_json": Fault("the real answer broken off in the middle, with the right Content-Length for what is sent"),
    "reset": Fault("half of the real answer, then a TCP reset; Content-Length promises all of it"),
    "drop": Fault("the connection is closed before any byte of the answer; nothing was done"),
    "hang": Fault("no answer until the client leaves"),
    "drip": Fault("the real answer, one byte every drip_s (0.2) seconds"),
    "redirect": Fault("307 to the setting redirect_to (else this server by its other name)"),
    "refusal": Fault("message.refusal set, content null, finish_reason stop", (OPENAI,), _CHAT),
    "length": Fault("content broken off, finish_reason length", (OPENAI,), _CHAT),
    "content_filter": Fault("content empty, finish_reason content_filter", (OPENAI,), _CHAT),
    "schema_mismatch": Fault("content is valid JSON of another shape", (OPENAI,), _CHAT),
    "not_json": Fault("content is prose", (OPENAI,), _CHAT),
    "empty_choices": Fault("choices is an empty list", (OPENAI,), _CHAT),
    "null_content": Fault("content null without refusal", (OPENAI,), _CHAT),
    "no_usage": Fault("the answer has no usage, as some compatible servers", (OPENAI,), (*_CHAT, *_IMAGES)),
    "moderation_blocked": Fault("400 moderation_blocked", (OPENAI,), _IMAGES),
    "no_images": Fault("200 with an empty list of images", (OPENAI,), _IMAGES),
    "not_base64": Fault("b64_json that is not base64", (OPENAI,), _IMAGES),
    "not_an_image": Fault("base64 of something that is no image", (OPENAI, RUNPOD), (*_IMAGES, *_RUN)),
    "created_then_drop": Fault(
        "the job is created, the answer to the create is lost", (REPLICATE, RUNPOD), (*_CREATE, *_RUN)
    ),
    "slow": Fault("slow_polls (5) polls see it starting and processing", (REPLICATE, RUNPOD), (*_CREATE, *_RUN)),
    "failed": Fault("the prediction fails", (REPLICATE,), _CREATE),
    "failed_E005": Fault("the prediction is flagged as sensitive: failed with (E005)", (REPLICATE,), _CREATE),
    "canceled": Fault("the prediction is canceled by somebody else", (REPLICATE,), _CREATE),
    "aborted": Fault("status aborted, which the SDK's parser doesn't know", (REPLICATE,), _CREATE),
    "none_output": Fault("succeeded with output null", (REPLICATE,), _CREATE),
    "FAILED": Fault("the job fails; error is a JSON string", (RUNPOD,), _RUN),
    "CANCELLED": Fault("the job is cancelled by somebody else", (RUNPOD,), _RUN),
    "TIMED_OUT": Fault("the job runs past its executionTimeout", (RUNPOD,), _RUN),
    "RUNNING": Fault("status RUNNING where others say IN_PROGRESS", (RUNPOD,), _RUN),
    "no_output": Fault("COMPLETED without output: over the payload limit", (RUNPOD,), _RUN),
    "output_errors": Fault("COMPLETED with errors in place of images", (RUNPOD,), _RUN),
    "output_warnings": Fault("COMPLETED with errors beside the images", (RUNPOD,), _RUN),
    "bad_filename": Fault("the file's name is ../../etc/passwd.png", (RUNPOD,), _RUN),
    "s3_url": Fault("the image is a link on this server, by its other name", (RUNPOD,), _RUN),
    "expired_output": Fault("succeeded, but the output's link answers 404", (REPLICATE, RUNPOD), (*_CREATE, *_RUN)),
    "wrong_output": Fault("the output's link gives HTML with 200", (REPLICATE, RUNPOD), (*_CREATE, *_RUN)),
    "gone": Fault("404 on /status: past its TTL", (RUNPOD,), ("status",)),
}


def known(name: str, server: str, route: str) -> str:
    """The name, if this server can commit that fault on this route; ValueError with what it can do otherwise."""
    fault = FAULTS.get(name)
    possible = fault is not None and server in fault.servers and (not fault.routes or route in fault.routes)
    if name == OK or possible:
        return name
    choices = [each for each, value in FAULTS.items() if server in value.servers and route in (*value.routes, route)]
    raise ValueError(f"{server} has no fault {name!r} on route {route!r}: one of {', '.join([OK, *choices])}")
