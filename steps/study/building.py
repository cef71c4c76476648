"""Writes a study: the folder that is handed out, and outside it the key."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.study import design as designs
from steps.study import pictures
from steps.study.canonical import digest
from steps.study.cells import Selection
from steps.study.design import Designer, Names, StudyOptions
from steps.study.page import PAGE, render
from steps.study.studies import HANDED_OUT, KEY, Study, read_study

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_REFERENCES = 6
_LOCK = "build.lock"
_MOST_NOTES = 8


@dataclass(frozen=True)
class Built:
    """A study that was written.

    Attributes:
        study: With its key.
        handed_out: The folder for raters.
        notes: What the maker should know.
    """

    study: Study
    handed_out: Path
    notes: tuple[str, ...]


def build(
    folder: Path,
    selection: Selection,
    references: Mapping[str, Path],
    options: StudyOptions,
    handed_out: Path | None = None,
) -> Built:
    """Write a study. The same command again writes the same study again.

    Args:
        folder: The maker's: outputs/studies/NAME.
        selection: What is compared.
        references: Folders of images that show who a character is (`references_of`). Without any nobody is asked whether it is the
            character.
        options: How it is made.
        handed_out: The raters' folder; FOLDER/study by default.

    Raises:
        UserError: Another study is in one of the folders, an image can't be read, or an option is out of range.
    """
    target = handed_out or folder / HANDED_OUT
    _check_options(options, selection)
    if folder.resolve().is_relative_to(target.resolve()):
        raise UserError(
            f"{target} would hold the key as well ({folder / KEY}), and raters must not see it: give another -o FOLDER"
        )
    shown = references_of(references, selection)
    inputs = _inputs(selection, shown, options)
    with files.locked(folder / _LOCK, f"{folder} is being built at this moment: wait for it"):
        known = _known(folder, inputs)
        secret = known.key["secret"] if known is not None else secrets.token_hex(32)
        frames = [frame.file for unit in selection.units for board in unit.boards.values() for frame in board.frames]
        box = pictures.box_of(frames, options.long_side)
        names = Names(secret, pictures.suffix_for(max(box)))
        designed = Designer(selection, shown, names, secret).design(options)
        if known is not None and known.page != designed.document:
            raise UserError(f"{folder} was built by another version of Callsheet: give this study a --name of its own")
        _check_target(target, designed)
        # The key first: a study without its key would be answered in vain.
        study = known or _write_key(folder, target, designed, secret=secret, inputs=inputs)
        _write_folder(target, designed, box)
    return Built(study, target, tuple(_notes(selection, shown, designed.document)))


def references_of(folders: Mapping[str, Path], selection: Selection) -> dict[str, list[Path]]:
    """By character the images that show who it is, six at most, in the order of their names.

    Args:
        folders: By character; the one for "" holds a folder for each other character, or the images of the only one.
        selection: Who is shown.

    Raises:
        UserError: A character has none, or one is named that is not shown.
    """
    characters = sorted({unit.place[0] for unit in selection.units})
    if unknown := sorted(set(folders) - {"", *characters}):
        raise UserError(
            f"--references {unknown[0]}=...: nobody of that name is shown: {', '.join(map(repr, characters))}"
        )
    return {
        character: _images_of(character, folders, alone=len(characters) == 1) for character in characters if folders
    }


def _images_of(character: str, folders: Mapping[str, Path], *, alone: bool) -> list[Path]:
    general = folders.get("")
    places = [folders.get(character) if character else None]
    if general is not None:
        places += [
            general / files.plain_name(character, "character") if character else None,
            general if alone else None,
        ]
    for place in places:
        found = sorted(path for path in place.glob("*") if path.suffix.lower() in SUFFIXES) if place is not None else []
        if found:
            return found[:MOST_REFERENCES]
    looked = ", ".join(str(place) for place in places if place is not None) or "nowhere"
    raise UserError(
        f"--references: no images of '{character}' (looked in {looked}): give --references '{character}=FOLDER', "
        f"or leave it out, and nobody is asked whether it is the character"
    )


def _check_options(options: StudyOptions, selection: Selection) -> None:
    if options.per_rater is not None and options.per_rater < 1:
        raise UserError(
            f"--per-rater {options.per_rater} is not allowed: give 1 or more (storyboards and pairs together)"
        )
    if not 0 <= options.repeats <= 1:
        raise UserError(f"--repeats {options.repeats} is not allowed: give a share of the pairs, 0 to 1")
    if not 0 <= options.checks <= 20:
        raise UserError(f"--checks {options.checks} is not allowed: give 0 to 20 (pages that say what to choose)")
    if options.long_side < 32:
        raise UserError(f"--long-side {options.long_side} is not allowed: give 32 or more pixels")
    shown = f"{options.title} {options.contact}".lower()
    if told := [arm for arm in selection.arms if arm.lower() in shown]:
        raise UserError(
            f"--title or --contact names the arm '{told[0]}', and raters must not know the arms: give other words"
        )


def _inputs(selection: Selection, references: Mapping[str, Sequence[Path]], options: StudyOptions) -> str:
    """The digest of all that makes a study this one."""
    boards = [
        [*unit.place, arm, [_sha256(frame.file) for frame in board.frames], list(unit.texts)]
        for unit in selection.units
        for arm, board in unit.boards.items()
    ]
    shown = {character: [_sha256(path) for path in paths] for character, paths in references.items()}
    return digest(
        {"boards": boards, "references": shown, "options": {key: str(value) for key, value in asdict(options).items()}}
    )


def _sha256(path: Path) -> str:
    try:
        return files.sha256_of(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: its run has lost it; draw it again") from error


def _known(folder: Path, inputs: str) -> Study | None:
    """The study that is in the folder already, if it is this one."""
    if not files.is_file(folder / KEY):
        return None
    study = read_study(folder)
    if study.key["inputs"] != inputs:
        raise UserError(
            f"{folder} holds another study (built {study.key['built_at']}, of other storyboards or with other options): "
            f"give this one a --name of its own"
        )
    return study


def _check_target(target: Path, designed: designs.Design) -> None:
    """A folder that is not empty is left alone, unless all that it holds is this study's."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file: give a new folder with -o")
    ours = {PAGE, *designed.images, *designed.checks}
    strange = [
        path for path in sorted(target.rglob("*")) if path.is_file() and path.relative_to(target).as_posix() not in ours
    ]
    if strange:
        raise UserError(f"{target} is not empty, and {strange[0].name} is not of this study: give a new folder with -o")


def _write_key(folder: Path, target: Path, designed: designs.Design, *, secret: str, inputs: str) -> Study:
    key: dict[str, Any] = {
        "format": designs.FORMAT,
        "inputs": inputs,
        "secret": secret,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "handed_out": str(target),
        "page": designed.document,
        "answers": designed.answers,
    }
    files.write_json(folder / KEY, key)
    return Study(folder, key)


def _write_folder(target: Path, designed: designs.Design, box: tuple[int, int]) -> None:
    """All of it aside, then in its place by one rename."""
    aside = target.with_name(f"{files.TEMPORARY}{target.name}")
    files.remove_tree(aside)
    try:
        pictures.write_images(aside, designed.images, box, designed.checks)
        files.write_text(aside / PAGE, render(designed.document))
        os.utime(aside / PAGE, (pictures.DATE, pictures.DATE))
        files.remove_tree(target)
        aside.rename(target)
        files.sync_folder(target.parent)
    except BaseException:
        files.remove_tree(aside)
        raise


def _notes(selection: Selection, references: Mapping[str, Sequence[Path]], document: Mapping[str, Any]) -> list[str]:
    notes = [f"left out: {sentence}" for sentence in selection.left_out[:_MOST_NOTES]]
    if (more := len(selection.left_out) - _MOST_NOTES) > 0:
        notes.append(f"left out: {more} more")
    if not references:
        notes.append("nobody is asked whether it is the character: --references DIR shows who it is")
    if len(selection.arms) == 1:
        notes.append(f"there is one arm, {selection.arms[0]}, so that there are no pairs to choose from")
    if document["minutes"] > 30:
        notes.append(f"one person needs about {document['minutes']} minutes: --per-rater 60 shows each a balanced part")
    return notes
