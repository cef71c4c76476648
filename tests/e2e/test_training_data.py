"""The training data of a whole sample cast, mirrored in a bucket: migrated, balanced, audited, each by the command that a user types."""
# ruff: noqa: F811

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.contract.storage_servers import Bucket, aws, moto  # noqa: F401 - fixtures
from tests.e2e.stage import Told, command

# The name that the cast's older URLs have.
BUCKET = "bucket"
SMALL = ("steps.plan.width=320", "steps.plan.height=180")


class Cast:
    """A sample cast in a folder, and its bucket."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.library = root / "cast" / "data"
        self.bucket = Bucket(BUCKET, url)
        self._env = {"AWS_ENDPOINT_URL_S3": url, "AWS_DEFAULT_REGION": "us-west-1"}
        self.callsheet("sample", "cast", "--cast", "training")
        self.truth = json.loads((root / "cast/truth.json").read_text())["actors"]
        self.bucket.client.create_bucket(Bucket=BUCKET)
        for path in sorted((root / "cast/bucket").rglob("*")):
            if path.is_file():
                self.bucket.write(path.relative_to(root / "cast/bucket").as_posix(), path.read_bytes())

    def callsheet(self, *words: str) -> Told:
        return command(*words, cwd=self.root, env=self._env, timeout=400)

    def run(self, recipe: str, *more: str) -> Told:
        return self.callsheet("run", recipe, *self._where(), *more)

    def audit(self, *more: str) -> Told:
        return self.callsheet("audit", *self._where(), *more)

    def result(self, recipe: str, file: str) -> Any:
        return json.loads((self.root / "outputs" / recipe / "latest" / file).read_text())

    def warnings(self, recipe: str) -> list[str]:
        """What the newest report of a recipe warns of."""
        parts = (self.root / "outputs" / recipe / "latest").glob("*/report.json")
        return [warning for part in parts for warning in json.loads(part.read_text())["warnings"]]

    def usable(self) -> list[str]:
        return [name for name, about in self.truth.items() if about["usable_base_image"]]

    def manifest(self, name: str) -> list[str]:
        path = self.library / "actors" / name / "training_data" / "manifest.json"
        return sorted(image["file"] for image in json.loads(path.read_text())["images"])

    def on_disk(self, name: str) -> list[str]:
        folder = self.library / "actors" / name / "training_data"
        words = ("response", "request", "metadata")
        return sorted(
            path.name
            for path in folder.iterdir()
            if path.suffix.lower() in (".png", ".jpg", ".jpeg")
            and path.is_file()
            and not path.is_symlink()
            and not any(word in path.name.lower() for word in words)
        )

    def in_bucket(self, name: str) -> list[str]:
        """The images that the bucket has, each where its URL says."""
        path = self.library / "actors" / name / "training_data" / "manifest.json"
        there = self.bucket.objects()
        images = json.loads(path.read_text())["images"]
        return sorted(image["file"] for image in images if self._key(name, image) in there)

    def _key(self, name: str, image: dict[str, Any]) -> str:
        own = re.search(r"(?:s3://bucket/|//bucket\.s3[^/]*/|\.com/bucket/|:\d+/bucket/)([^?]+)", image["url"] or "")
        return unquote(own[1]) if own else f"actors/{name}/training_data/{image['file']}"

    def _where(self) -> list[str]:
        return ["data=cast/data", "storage=s3", f"storage.bucket={BUCKET}", "quiet=true"]


@pytest.mark.timeout(900)
def test_a_cast_is_migrated_balanced_and_audited(moto: str, tmp_path: Path) -> None:
    cast = Cast(tmp_path, moto)
    assert len(cast.truth) >= 30
    counts = [sum(about["training"]["counts"].values()) for about in cast.truth.values()]
    assert (min(counts), max(counts) >= 40) == (0, True)

    assert cast.run("migrate_manifests", "execute=true").code == 0
    written = {path: path.read_bytes() for path in cast.library.rglob("training_data/manifest.json")}
    assert len(written) >= 30
    assert cast.run("migrate_manifests", "execute=true").code == 0
    assert {path: path.read_bytes() for path in cast.library.rglob("training_data/manifest.json")} == written

    assert cast.run("evaluate_training_data", "include_empty=true", "gate=true").code == 1, "some can't be balanced"
    _check_verdicts(cast)
    done = cast.run("balance_training_data", "include_empty=true", "execute=true", *SMALL)
    assert done.code == 1, done.text
    assert cast.audit().code == 1
    assert cast.audit("--fix").code == 0
    audited = cast.audit()
    assert audited.code == 0, audited.text

    for name in cast.usable():
        assert len(cast.on_disk(name)) == 20, name
        assert cast.manifest(name) == cast.on_disk(name), name
        assert cast.in_bucket(name) == cast.on_disk(name), name
    ids = ",".join(str(int(name.partition("_")[0])) for name in cast.usable())
    gated = cast.run("evaluate_training_data", f"actors=[{ids}]", "gate=true")
    assert gated.code == 0, gated.text
    said = "\n".join(cast.warnings("balance_training_data"))
    for name in set(cast.truth) - set(cast.usable()):
        assert f"{name}: " in said or len(cast.on_disk(name)) == 20, name


def _check_verdicts(cast: Cast) -> None:
    """Class by class, what was seen is what was drawn."""
    rows = cast.result("evaluate_training_data", "validate/results.json")["results"]
    agree: Counter[bool] = Counter()
    for row in rows:
        truth = cast.truth[row["actor_name"]]["training"]["images"]
        for image in row["images"]:
            agree[image["class"] == truth[image["file"]]["class"]] += 1
    assert agree[True] >= 0.97 * agree.total(), agree
