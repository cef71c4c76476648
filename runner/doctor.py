"""What steps and backends tell `callsheet doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from runner.rates import LimitSettings


@dataclass(frozen=True)
class Need:
    """Something that a step or a backend can't work without.

    A backend class lists its own in an optional `@classmethod needs(cls, settings) -> Iterable[Need]`, a step class in
    `needs(cls, params, data)`, where data is the library's root.

    Attributes:
        what: A key's name, a model, a folder.
        met: True when it is there.
        advice: What to do when it is not.
    """

    what: str
    met: bool
    advice: str = ""


def limits_need(settings: LimitSettings) -> Need:
    """For `callsheet doctor`: how fast it may be called."""
    named = [
        f"{value:g} {what}"
        for value, what in (
            (settings.requests_per_minute, "requests a minute"),
            (settings.tokens_per_minute, "tokens a minute"),
            (settings.concurrency, "at once"),
        )
        if value is not None
    ]
    return Need(f"limits: {', '.join(named) or 'as the provider says'}", met=True)
