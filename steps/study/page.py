"""The page that raters open: HTML, style, script and the study in one file, which loads nothing but its images."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files as resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

PAGE = "index.html"
STYLE = "study.css"
# One script, in this order; each part is a file for its readers' sake.
SCRIPTS = ("sha256.js", "schedule.js", "saving.js", "views.js", "study.js")


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources("steps.study").joinpath("assets", name).read_text("utf-8")


def script() -> str:
    """The page's script: a classic one, for modules don't run from file://."""
    return '(function () {\n"use strict";\n' + "".join(asset(name) for name in SCRIPTS) + "})();\n"


def render(study: Mapping[str, Any]) -> str:
    """The page.

    Args:
        study: What it knows (`design.document`).
    """
    environment = Environment(
        loader=PackageLoader("steps.study", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, code = asset(STYLE), script()
    return environment.get_template("study.html").render(
        study=study,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(code),  # noqa: S704 - our own file
        data=Markup(_embedded(study)),  # noqa: S704 - nothing in it can end the element
        policy="; ".join(_policy(style, code)),
    )


def _embedded(study: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: no text in it can end the element or begin a comment."""
    return json.dumps(study, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(style: str, code: str) -> list[str]:
    return [
        "default-src 'none'",
        "img-src 'self' file:",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(code)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
