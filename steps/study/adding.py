"""Takes in what raters sent back: each file checked, stored whole, and never counted twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.study.exports import Export, check_export, read_document
from steps.study.studies import Study

NEW, REPLACED, KNOWN, REFUSED = "added", "replaced", "known already", "refused"
_LOCK = "answers.lock"


@dataclass(frozen=True)
class Taken:
    """What became of one file.

    Attributes:
        file: As it was given.
        outcome: "added", "replaced", "known already" or "refused".
        study: The study's name, where that is known.
        rater: Who answered, where that is known.
        note: A sentence for a person: why it was refused or what it replaces.
    """

    file: Path
    outcome: str
    study: str = ""
    rater: str = ""
    note: str = ""


def add(
    paths: Sequence[Path], studies: Iterable[Study], *, only: str | None = None, replace: bool = False
) -> list[Taken]:
    """Take in files; each is judged by itself, and a refused one stops no other.

    Args:
        paths: What raters sent.
        studies: All that are known, by which a file's study is told.
        only: Take answers of the study of this name alone.
        replace: Let answers take the place of the same rater's from another sitting.
    """
    known = {study.id: study for study in studies}
    with ExitStack() as held:
        for study in known.values():
            if only in (None, study.name):
                busy = f"answers are added to {study.folder} at this moment: wait for it"
                held.enter_context(files.locked(study.folder / _LOCK, busy))
        return [_taken(path, known, only, replace=replace) for path in paths]


def _taken(path: Path, known: Mapping[str, Study], only: str | None, *, replace: bool) -> Taken:
    study, document = None, {}
    try:
        document = read_document(path)
        study = _study_of(document, known, only, path)
        export = check_export(document, study.page, str(path))
        outcome, note = _store(export, study, replace=replace)
    except UserError as error:
        return Taken(path, REFUSED, study.name if study else "", document.get("rater", ""), str(error))
    return Taken(path, outcome, study.name, export.rater, note)


def _study_of(document: Mapping[str, Any], known: Mapping[str, Study], only: str | None, path: Path) -> Study:
    study = known.get(document["study"])
    if study is None:
        names = ", ".join(f"'{each.name}' ({each.id})" for each in known.values())
        raise UserError(f"{path}: answers study {document['study']!r}, which is not here; here are: {names}")
    if only not in (None, study.name):
        raise UserError(f"{path}: answers the study '{study.name}', not '{only}': add it with --name {study.name}")
    return study


def _store(export: Export, study: Study, *, replace: bool) -> tuple[str, str]:
    """Write answers where no other of this rater are newer; returns the outcome and a sentence."""
    target = study.answers / f"{export.rater}.json"
    note = f"{len(export.hasty)} answers in impossible times, kept and flagged" if export.hasty else ""
    if not files.is_file(target):
        files.write_json(target, dict(export.document))
        return NEW, note
    if replace:
        _keep(target, study)
        files.write_json(target, dict(export.document))
        return REPLACED, f"in the place of what was stored{f'; {note}' if note else ''}"
    stored = _stored(target)
    if stored["checksum"] == export.document["checksum"]:
        return KNOWN, "the same answers again: no second vote"
    if (stored["rater"], stored["session"]) != (export.rater, export.document["session"]):
        raise UserError(
            f"'{export.rater}' has answered in another sitting, and may be somebody else: if it is the same person who began anew, "
            f"add it with --replace"
        )
    if stored["exported_at"] > export.document["exported_at"]:
        return KNOWN, "older than what is stored of this rater: left out"
    _keep(target, study)
    files.write_json(target, dict(export.document))
    return REPLACED, f"in the place of {len(stored['answers'])} earlier answers{f'; {note}' if note else ''}"


def _keep(stored: Path, study: Study) -> None:
    """Put what is replaced aside: nobody can be asked the same again."""
    digest = files.sha256_of(stored)
    files.write_bytes(study.folder / REPLACED / f"{stored.stem}-{digest[:12]}.json", stored.read_bytes())


def _stored(path: Path) -> dict[str, Any]:
    try:
        return read_document(path)
    except UserError as error:
        raise UserError(f"{error}; --replace puts these answers in its place") from error
