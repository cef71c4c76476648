"""The stories of a run: read from files, broken down from tales, or made of one prompt; and the frames that they ask for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter

from runner import files
from runner.calls import current_usd
from runner.step import StepContext
from steps import storytelling
from steps.backends.protocols import Language
from steps.library.shots import Shot
from steps.library.stories import (
    Scene,
    Story,
    is_story_file,
    one_line,
    prompt_of,
    read_story,
    scored_text,
    unnamed,
)
from steps.storyboard_params import StoryboardParams
from steps.studio.frames.gate import Gate, Scored
from steps.studio.frames.telling import Panel

VERSION = 2
PROMPT = "prompt"
"""The name of a story that is a prompt."""
_NAME_WORDS = 5


@dataclass(frozen=True)
class Told:
    """A story as it is drawn.

    Attributes:
        story: Its scenes.
        usd: What breaking its tale down cost when that was done, in US dollars.
    """

    story: Story
    usd: float = 0.0


_TOLD: TypeAdapter[Told] = TypeAdapter(Told)


class Stories:
    """Finds stories and says what their frames are to show."""

    def __init__(self, params: StoryboardParams, context: StepContext, language: Language) -> None:
        self._params = params
        self._context = context
        self._language = language

    def of(self, told: str | None) -> Told:
        """The story; a tale is broken down once for all modes, seeds and runs."""
        if told is None:
            return Told(self._one_frame())
        if is_story_file(told):
            return Told(read_story(told.strip()))
        params = self._params
        who, bounds = params.hero or params.trigger, (params.least, params.most, params.count)
        asked = (told, who, bounds, self._language.identity, storytelling.PROMPT)
        with self._context.artifacts.making("story", VERSION, asked) as artifact:
            about = artifact.about()
            if about is None:
                files.sweep_temporaries(artifact.path)
                about = asdict(self._broken_down(told, who, bounds))
                artifact.finish(about)
            return _TOLD.validate_python(about)

    def panels(self, story: Story, gate: Gate) -> tuple[Panel, ...]:
        """The frames, in order."""
        trigger, texts = self._params.trigger, self.scored(story, gate)
        return tuple(
            Panel(number, prompt_of(scene, trigger), text.text, scene.shot)
            for number, (scene, text) in enumerate(zip(story.scenes, texts, strict=True), 1)
        )

    def scored(self, story: Story, gate: Gate) -> Sequence[Scored]:
        """What each frame is held against: the scene without the trigger, also where it is spelled out."""
        bare = [replace(scene, text=unnamed(scene.text, self._params.trigger)) for scene in story.scenes]
        return [gate.scored(scored_text(scene, story.noun)) for scene in bare]

    def _broken_down(self, tale: str, who: str, bounds: tuple[int, int, int | None]) -> Told:
        least, most, count = bounds
        before = current_usd()
        story = storytelling.break_down(self._language, tale, who=who, least=least, most=most, count=count)
        # An answer that could not be used was paid as well.
        return Told(story, round(current_usd() - before, 6))

    def _one_frame(self) -> Story:
        params = self._params
        prompt = one_line(params.prompt or "")
        scene = Scene(unnamed(prompt, params.trigger), Shot(params.shot, params.gesture, params.facing))
        return Story(PROMPT, prompt, (scene,), source=PROMPT)


def name_of(told: str | None) -> str:
    """A story's name as a file name; a tale's is its first words and a digest."""
    if told is None:
        return PROMPT
    if is_story_file(told):
        return read_story(told.strip()).name
    words = re.findall(r"[a-z0-9]+", told.lower())[:_NAME_WORDS]
    return "_".join([*words, hashlib.sha256(told.encode()).hexdigest()[:6]])
