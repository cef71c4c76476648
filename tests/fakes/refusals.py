"""OpenAI's error bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_QUOTA = "You exceeded your current quota, please check your plan and billing details."
# By fault or status: type, code, message.
_ERRORS: Mapping[str, tuple[str, str | None, str]] = {
    "429": (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests per min (RPM). Please try again in 120ms.",
    ),
    "429_slow_down": ("requests", "slow_down", "The engine is slowing down your requests. Reduce your rate."),
    "429_quota": ("insufficient_quota", "insufficient_quota", _QUOTA),
    "429_credit": ("insufficient_quota", "credit_balance_exhausted", "Your credit balance is exhausted."),
    "429_spend_limit": (
        "insufficient_quota",
        "project_spend_limit_exceeded",
        "This project has reached its spend limit.",
    ),
    "429_org_limit": (
        "insufficient_quota",
        "organization_usage_limit_exceeded",
        "Your organization has reached its usage limit.",
    ),
    "401": ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: {masked}."),
    "401_echo": ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    "403": ("request_forbidden", "unsupported_country_region_territory", "Country, region, or territory not supported"),
    "400": ("invalid_request_error", "invalid_value", "Invalid value."),
    "404": ("invalid_request_error", "not_found", "Not found."),
    "408": ("server_error", "timeout", "Request timed out."),
    "409": ("conflict_error", None, "The resource was updated by another request."),
    "422": ("invalid_request_error", "unprocessable", "The request could not be processed."),
    "500": ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    "503": ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
}


class Invalid(Exception):
    """A request that the vendor would refuse."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = "invalid_request_error"
        self.code = code
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        """What is answered."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def error_body(status: int, fault: str | None, key: str) -> dict[str, Any]:
    """The body for a fault or, when it is no scripted one, for its status."""
    kind, code, message = _ERRORS.get(fault or "") or _ERRORS[str(status)]
    message = message.format(key=key, masked=f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) > 8 else "****")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
