"""A repair over local and S3 with each maker of images, killed anywhere, goes on as if nothing had been: nothing lost, orphaned or paid twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.conftest import Record, Wiring
from tests.chaos.crash import KILLED, needs_strace, spread
from tests.chaos.test_failpoints import REPAIR, UNDO, visible
from tests.chaos.test_remote import FAILPOINTS as REMOTE
from tests.chaos.wired import BY_JOBS, IMAGES, MIRROR, MIRROR_UNDO, SAID, STORAGES, Wired

PAIRS = [(storage, image) for storage in STORAGES for image in IMAGES]
pairs = pytest.mark.parametrize(("storage", "image"), PAIRS)
MOMENTS, REQUESTS = 14, 10


def passed(storage: str, image: str) -> list[str]:
    """The named places that a repair by them comes by."""
    return [*REPAIR, *(REMOTE if image in BY_JOBS else ()), *(MIRROR if storage == "s3" else ())]


def test_a_few_places(wired: Wiring, record_property: Record) -> None:
    """The quick sample."""
    repair = wired("s3", "replicate")
    places = ("remote.created", "mirror.trashed:2", "mirror.put", "mirror.deleted")
    for name in places:
        repair.fail_point(name)
    kills = repair.moments(2, "the quick sample")
    _report(record_property, repair, "SIGKILL", "a few places", len(places) + kills)


@pytest.mark.chaos
@pairs
def test_killed_at_each_named_place(wired: Wiring, storage: str, image: str, record_property: Record) -> None:
    repair = wired(storage, image)
    places = passed(storage, image)
    for name in places:
        repair.fail_point(name)
    _report(record_property, repair, "failpoint", "each named place", len(places))


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("storage", "image"), [(storage, image) for storage, image in PAIRS if storage == "s3" or image in BY_JOBS]
)
def test_killed_at_each_passing(wired: Wiring, storage: str, image: str, record_property: Record) -> None:
    """Of the places that only repairs by servers come by, every time that they do."""
    repair = wired(storage, image)
    total = 0
    for name in passed(storage, image)[len(REPAIR) :]:
        nth = 2
        while repair.passes(f"{name}:{nth}"):
            nth += 1
        total += nth - 2
    assert total >= 3
    _report(record_property, repair, "failpoint", "its own, each time", total)


@pytest.mark.parametrize(
    ("image", "name", "twice"),
    [
        *(("replicate", name, 0) for name in REMOTE),
        *(("runpod", name, int(name == "remote.created")) for name in REMOTE),
    ],
)
def test_what_a_create_that_was_cut_off_costs(
    wired: Wiring, image: str, name: str, twice: int, record_property: Record
) -> None:
    """Replicate lists what it has created; RunPod does not, and that a job may be paid for twice is said."""
    repair = wired("local", image)
    repair.fail_point(name)
    assert repair.doubled == twice
    assert len(SAID.findall(repair.said)) == (name != "remote.journalled")
    _report(record_property, repair, "failpoint", name, 1)


@pytest.mark.chaos
@pairs
def test_killed_at_random_moments(wired: Wiring, storage: str, image: str, record_property: Record) -> None:
    """With the real threads, some again while they go on."""
    repair = wired(storage, image)
    total = repair.moments(MOMENTS, f"{storage} {image} 2026")
    _report(record_property, repair, "SIGKILL", "random moments", total)


@needs_strace
@pytest.mark.chaos
@pairs
@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_killed_at_a_request(wired: Wiring, storage: str, image: str, call: str, record_property: Record) -> None:
    """Before a request leaves, and before its answer is read: what was asked for is done, and nobody knows."""
    repair = wired(storage, image)
    repair.begin()
    points = repair.zygote.points(repair.command, call)
    numbers = spread((point.number for point in points if "socket:" in point.line), REQUESTS)
    killed = sum(repair.request(call, number) for number in numbers)
    assert killed >= 0.8 * len(numbers)
    _report(record_property, repair, "request", f"before {call}", killed)


@pytest.mark.chaos
@pytest.mark.parametrize("name", [*MIRROR, "execute.moving", "execute.trashed", "execute.placed", "execute.entered"])
def test_what_was_cut_off_can_be_undone(wired: Wiring, name: str, record_property: Record) -> None:
    repair = wired("s3", "replicate")
    times = 0
    repair.begin()
    while _fail(repair, repair.command, f"{name}:{times + 1}") == KILLED:
        times += 1
        _undo(repair, f"{name}:{times}")
        repair.begin()
    assert times >= 2
    _report(record_property, repair, "failpoint", f"undo after {name}", times)


@pytest.mark.chaos
@pytest.mark.parametrize("name", [*UNDO, *MIRROR_UNDO])
def test_undo_goes_on(wired: Wiring, name: str, record_property: Record) -> None:
    repair = wired("s3", "replicate")
    repair.begin()
    assert repair.zygote.run(repair.command).code == 0
    done, objects = repair.scene.root.with_name("done"), repair.bucket()
    repair.scene.keep(done)
    times = 0
    while _fail(repair, repair.scene.undo("repair_base_images"), f"{name}:{times + 1}") == KILLED:
        times += 1
        repair.bad += [f"killed at {name}:{times}: {line}" for line in repair.torn_or_lost()]
        _undo(repair, f"{name}:{times}")
        repair.begin_from(done, objects)
    assert times >= 2 or name == "mirror.deleted"
    assert times >= 1
    _report(record_property, repair, "failpoint", f"undo, {name}", times)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_undo_goes_on_from_a_request(wired: Wiring, call: str, record_property: Record) -> None:
    repair = wired("s3", "embedded")
    repair.begin()
    assert repair.zygote.run(repair.command).code == 0
    done, objects = repair.scene.root.with_name("done"), repair.bucket()
    repair.scene.keep(done)
    undo = repair.scene.undo("repair_base_images")
    points = repair.zygote.points(undo, call)
    numbers = spread((point.number for point in points if "socket:" in point.line), REQUESTS)
    killed = 0
    for number in numbers:
        repair.begin_from(done, objects)
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        if repair.zygote.run(undo, strace=inject).code == KILLED:
            killed += 1
            repair.bad += [f"killed before {call} {number}: {line}" for line in repair.torn_or_lost()]
            _undo(repair, f"{call} {number}")
    assert killed >= 0.8 * len(numbers)
    _report(record_property, repair, "request", f"undo, before {call}", killed)


def _undo(repair: Wired, what: str) -> None:
    """Undo what there is; then library and bucket must be what they were."""
    undone = repair.zygote.run(repair.scene.undo("repair_base_images"))
    if undone.code != 0:
        repair.bad.append(f"{what}: undo ends with {undone.code}: {undone.said[-500:]}")
    if visible(repair.scene.data) != {path: sha for path, sha in repair.before.items() if path[:1] != "."}:
        repair.bad.append(f"{what}: the library is not what it was")
    now = repair.bucket()
    wrong = sorted(key for key in {*now, *repair.objects} if now.get(key) != repair.objects.get(key))
    if wrong:
        repair.bad.append(f"{what}: the bucket is not what it was: {wrong}")


def _fail(repair: Wired, command: Sequence[str], name: str) -> int:
    return repair.zygote.run(command, env={"CALLSHEET_FAILPOINT": name}).code


def _report(record: Record, repair: Wired, layer: str, what: str, total: int) -> None:
    counted = [f"{count} {word}" for count, word in ((repair.doubled, "twice"), (repair.again, "looks again")) if count]
    extra = f" ({', '.join(counted)})" if counted else ""
    record("chaos", f"{layer}|{repair.storage} + {repair.image}, {what}{extra}|{total}|{len(repair.bad)}")
    assert not repair.bad, "\n".join(repair.bad)
