"""Writes report.html: one page that a person opens from the run's folder, without a server and without the network."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner import files
from runner.errors import UserError
from runner.report_view import (
    RUN_STATES,
    TONES,
    Parts,
    flat,
    join,
    listing,
    mapping,
    moment,
    number,
    ranking,
    read_parts,
    read_text,
    seconds_of,
    state_of,
    step_rows,
    text,
    tone,
    verdicts,
)
from runner.run import FINISHED, read_about

PAGE = "report.html"
FACTS = ("digest", "git", "seeds", "backends", "weights", "machine", "packages", "recipe_file", "sessions")


def render(run: Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write RUN/report.html from run.json and what the steps left; to be called again whenever they have changed.

    Args:
        run: A run's folder. Steps that have not run, and parts that can't be read, are shown as such.
        about: What run.json is about to say; by default what it says.

    Returns:
        The page's path.
    """
    about = read_about(run) if about is None else about
    parts = read_parts(run, mapping((about or {}).get("steps")))
    if about is None:
        parts.warnings.insert(0, ("", "run.json is missing or broken, so that little is known of this run"))
    return _write(run, "run.html", _run_view(run, about or {}, parts))


def render_sweep(sweep: Path) -> Path:
    """Write SWEEP/report.html: a table of the jobs, each with a link to its own report.

    Args:
        sweep: A sweep's folder, with sweep.json and jobs/N.

    Returns:
        The page's path.
    """
    warnings = []
    try:
        about = mapping(files.read_json(sweep / "sweep.json"))
    except UserError as error:
        about, warnings = {}, [("", str(error))]
    jobs = [_job_view(sweep, mapping(job)) for job in listing(about.get("jobs"))]
    return _write(sweep, "sweep.html", {**_head(sweep, about), **_sweep_view(about, jobs), "warnings": warnings})


def _run_view(run: Path, about: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    cards = join(run, parts.found)
    steps = step_rows(about, parts.found)
    return {
        **_head(run, about),
        "warnings": parts.warnings,
        "headline": next((row.part.headline for row in reversed(steps) if row.part and row.part.headline), ""),
        "steps": steps,
        "cards": cards,
        "verdicts": verdicts(card for card in cards if card.badge.kind),
        "filters": verdicts(cards),
        "ranking": ranking(cards, parts.found),
        "strips": any(card.strip for card in cards),
        # Drawings and strips of pictures need room beside each other.
        "broad": any(card.strip or card.bars or card.trend or card.marked for card in cards),
        "figures": [(row.label, name, count) for row in steps if row.part for name, count in row.part.counts],
        "settings": read_text(run / "recipe.yaml"),
        "facts": [(name, list(flat(about.get(name)))) for name in FACTS if about.get(name)],
    }


def _head(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    cost = mapping(about.get("cost"))
    items = [mapping(step) for step in mapping(about.get("steps")).values()]
    return {
        "about": about,
        "recipe": text(about.get("recipe")) or folder.name,
        "folder": folder.name,
        "state": state_of(about, RUN_STATES),
        "command": text(about.get("command")) if about.get("state") not in FINISHED else "",
        "error": text(about.get("error")),
        "sessions": len(listing(about.get("sessions"))),
        "seconds": seconds_of(about),
        "usd": number(cost.get("usd")),
        "calls": int(number(cost.get("calls"))),
        "done": sum(int(number(step.get("done"))) for step in items),
        "failed": sum(int(number(step.get("failed"))) for step in items),
        "remembered": sum(int(number(step.get("remembered"))) for step in items),
        "written_at": datetime.now(UTC),
    }


def _job_view(sweep: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """A job as sweep.json lists it, with what its own folder knows."""
    name = text(job.get("number"))
    folder = sweep / "jobs" / name
    inside = name.isdecimal()
    about = (read_about(folder) if inside else None) or {}
    parts = read_parts(folder, mapping(about.get("steps"))) if inside else Parts()
    steps = step_rows(about, parts.found)
    counts = next((row.part.counts for row in reversed(steps) if row.part and row.part.counts), ())
    return {
        **_head(folder, about),
        "number": name,
        "overrides": _settings(job.get("overrides")),
        "state": state_of(job if job.get("state") else about, RUN_STATES),
        "counts": dict(counts),
        "headline": next((row.part.headline for row in reversed(steps) if row.part and row.part.headline), ""),
        "link": f"jobs/{quote(name)}/{PAGE}" if inside and (folder / PAGE).is_file() else None,
        "warnings": len(parts.warnings),
    }


def _sweep_view(about: Mapping[str, Any], jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The sweep's own figures are the sums of its jobs', but for the cost: the ledger knows it also of jobs that are gone."""
    cost = mapping(about.get("cost"))
    spent = {name: cost[name] if name in cost else sum(job[name] for job in jobs) for name in ("usd", "calls")}
    return {
        "jobs": jobs,
        "keys": _in_order(key for job in jobs for key in job["overrides"]),
        "names": _in_order(name for job in jobs for name in job["counts"]),
        "states": list(Counter(job["state"] for job in jobs).items()),
        "shared": list(_settings(about.get("overrides")).items()),
        "seconds": seconds_of(about) or sum(job["seconds"] for job in jobs),
        "usd": number(spent["usd"]),
        "calls": int(number(spent["calls"])),
        **{name: sum(job[name] for job in jobs) for name in ("done", "failed", "remembered")},
    }


def _settings(overrides: object) -> dict[str, str]:
    """`seed=1` as a name and a value; what has no value (`~steps.plan`) stands alone."""
    pairs = (text(override).partition("=") for override in listing(overrides))
    return {key: value if equals else "yes" for key, equals, value in pairs}


def _in_order(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _write(folder: Path, template: str, view: Mapping[str, Any]) -> Path:
    page = _environment().get_template(template).render(view)
    # A step's text may hold half a surrogate pair, which no encoding takes.
    files.write_text(folder / PAGE, page.encode("utf-8", "replace").decode("utf-8"))
    return folder / PAGE


@cache
def _environment() -> Environment:
    loader = PackageLoader("runner", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    # The hashes let nothing run or be drawn but these two, whatever a step's text says.
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy="; ".join(_policy(style, script)),
        tones=TONES,
        tone=tone,
    )
    environment.filters.update(
        money=_money,
        span=_span,
        day=_day,
        thousands=_thousands,
        spoken=_spoken,
        quoted=_quoted,
    )
    return environment


def _policy(style: str, script: str) -> list[str]:
    return [
        "default-src 'none'",
        "img-src 'self' file: data:",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


def _thousands(value: int) -> str:
    return f"{value:,}"


def _quoted(value: str) -> str:
    return quote(value.encode("utf-8", "replace"), safe="")


def _money(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 or not usd else f"${usd:.4f}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _day(value: object) -> str:
    at = value if isinstance(value, datetime) else moment(value)
    return f"{at:%d %b %Y, %H:%M} UTC" if at else text(value)


def _spoken(name: str) -> str:
    """A recipe's or step's name as a title."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
