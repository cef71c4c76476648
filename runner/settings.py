"""The settings that every recipe has (conf/base.yaml), typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from runner.budget import BudgetSettings
from runner.calls import RetrySettings
from runner.params import a_path, at_least, one_of, param


@dataclass(frozen=True)
class ExecutorSettings:
    """What runs the items."""

    name: str = param("local", help="the kind of executor", check=one_of("local"))


@dataclass(frozen=True)
class RunSettings:
    """What is the same in every recipe. conf/base.yaml has the same keys, with comments for users."""

    data: str = param("data", help="the library's root", check=a_path)
    outputs: str = param("outputs", help="where runs leave what they make", check=a_path)
    seed: int = param(0, help="everything drawn at random comes from it", check=at_least(0))
    execute: bool = param(False, help="steps with effects on the library act")
    fresh: bool = param(False, help="ignore answers remembered from earlier runs")
    workers: int = param(8, help="items at once", check=at_least(1))
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    grace_s: float = param(10.0, help="seconds that items under way get when the run is stopped", check=at_least(0))
    ledger: str | None = param(None, help="the ledger's file; null is OUTPUTS/ledger.sqlite", check=a_path)
    quiet: bool = param(False, help="only warnings and the last line")
    debug: bool = param(False, help="keep every request and answer in the run, secrets taken out, images as hashes")


# What may differ when a run is taken up again, because it changes no result.
NOT_IN_DIGEST = ("outputs", "workers", "budget", "retry", "executor", "grace_s", "ledger", "quiet", "debug")


def ledger_path(settings: RunSettings) -> Path:
    """The ledger of these settings."""
    return Path(settings.ledger) if settings.ledger else Path(settings.outputs) / "ledger.sqlite"
