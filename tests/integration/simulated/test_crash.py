# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 at every step of making and of removing; the next run ends where an undisturbed one would have ended.

A step is whatever leaves a trace: a write to sysfs, a call of mdevctl, a rename of the ledger. The process dies before
each, right after it was handed to the process that does it, and after it came back.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _guard
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Report
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.test_instances import (
    CARD,
    ONE,
    OTHER,
    Host,
    actions,
    parent,
    uuid,
    wish,
)

pytestmark = pytest.mark.thorough

MAKING, REMOVING, CHANGING, HUNG = 40, 33, 77, 18
"""How many places there are to die in; a test counts them."""

FOREIGN = {f"ffffffff-0000-4000-8000-{number:012d}": (CARD, OTHER)[number % 2] for number in range(24)}
SCENARIO: dict[str, t.Any] = {
    "version": 1,
    "name": "crash",
    "hosts": {
        "h1": {
            "parents": {address: parent(capacity={"model": "shared_units", "total": 16}) for address in (CARD, OTHER)},
            "mdevs": [{"uuid": name, "parent": address, "type": ONE} for name, address in FOREIGN.items()],
            "workloads": [{"name": "someone", "devices": sorted(FOREIGN)[:8]}],
        }
    },
}
ACCEPTED = "10de-0000-1-1.2"
ATTRIBUTES, CHANGED = [{"name": "first", "value": "7"}], [{"name": "first", "value": "8"}]
WISHES = [
    wish(1, "vm1", accepts=ACCEPTED, attributes=ATTRIBUTES),
    wish(2, "vm1", accepts=ACCEPTED, attributes=ATTRIBUTES, parent=OTHER),
    wish(3, "vm2", accepts=ACCEPTED),
]

MDEVCTL = """#!/bin/sh
# mdevctl with nothing but a folder: define, undefine and list.
cd "$(dirname "$0")/defined" || exit 1
case $1 in
  define) cat > "$3.$5.json" ;;
  undefine) rm "$3.$5.json" ;;
  list)
    printf '['
    comma=''
    for file in *.json; do
      [ -e "$file" ] || continue
      uuid=${file%%.*} parent=${file#*.}
      printf '%s{"%s": [{"%s": ' "$comma" "${parent%.json}" "$uuid"
      cat "$file"
      printf '}]}'
      comma=','
    done
    printf ']' ;;
esac
"""


class Place(t.NamedTuple):
    """A host on which mdevctl writes to a folder of its own."""

    host: Host
    defined: pathlib.Path

    def make(self, **params: t.Any) -> Report:
        return self.host.run(*WISHES, persist=True, **params)

    def change(self) -> Report:
        return self.host.run(*({**one, "attributes": CHANGED} for one in WISHES), persist=True)

    def remove(self, **params: t.Any) -> Report:
        return self.host.absent(**params)

    def devices(self) -> dict[str, tuple[str, str]]:
        """All instances: their parent, and what their attribute says."""
        found = {}
        for path in (self.host.fleet.host("h1").sysfs_root / "bus/mdev/devices").iterdir():
            # One that a process was sent to remove may go at this very moment.
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = (path.resolve().parent.name, (path / "first").read_text().strip())
        return found

    def ledger(self) -> list[dict[str, t.Any]]:
        path = self.host.ledger / "ledger.json"
        entries = json.loads(path.read_text())["entries"] if path.exists() else []
        return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]

    def state(self) -> t.Any:
        """Everything that counts."""
        return self.devices(), self.ledger(), sorted(path.name for path in self.defined.iterdir())


@pytest.fixture(scope="module")
def running() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as fleet:
        yield fleet


@pytest.fixture
def place(running: Fleet, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Place]:
    program = tmp_path / "bin" / "mdevctl"
    defined = program.parent / "defined"
    defined.mkdir(parents=True)
    program.write_text(MDEVCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    # A process that is killed loses nothing that the kernel has; only a power cut does.
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    found = Place(Host(running, tmp_path / "ledger"), defined)
    yield found
    for name in set(found.devices()) - set(FOREIGN):
        found.host.remove_by_hand(name)


TRACES = ("write", "claimed", "mdevctl")


class Fate:
    """Counts the places to die in, and dies in one of them."""

    def __init__(self, deadly: int | None) -> None:
        self.passed = 0
        self.deadly = deadly

    def meet(self) -> None:
        if self.passed == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def watch(self) -> None:
        """Stand at every step of this process."""
        rename, run, send = os.replace, _guard.Guard.run, _guard._Child.send

        def replace(*arguments: t.Any) -> None:
            self.meet()
            rename(*arguments)
            self.meet()

        def guarded(guard: _guard.Guard, ops: t.Sequence[_guard.Op]) -> list[_guard.Outcome]:
            leaves_traces = any(op.handler in TRACES for op in ops)
            if leaves_traces:
                self.meet()
            outcomes = run(guard, ops)
            if leaves_traces:
                self.meet()
            return outcomes

        def sent(child: _guard._Child, calls: list[tuple[str, tuple[t.Any, ...]]]) -> None:
            send(child, calls)
            if any(handler in TRACES for handler, _arguments in calls):
                self.meet()

        os.replace = replace  # type: ignore[assignment]
        _guard.Guard.run = guarded  # type: ignore[method-assign,assignment]
        _guard._Child.send = sent  # type: ignore[method-assign,assignment]


def in_child(work: t.Callable[[], object], deadly: int | None) -> int:
    """Do it in a process that dies at that step; how many places it passed, or -9."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            fate = Fate(deadly)
            fate.watch()
            work()
            os.write(writer, b"%d" % fate.passed)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        passed = file.read()
    _pid, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(passed)


def nothing_strange(place: Place) -> None:
    """Nothing foreign was touched, and all else that is there has its name in the ledger."""
    devices = place.devices()
    assert {name: address for name, (address, _first) in devices.items() if name in FOREIGN} == FOREIGN
    assert set(devices) - set(FOREIGN) <= {entry["uuid"] for entry in place.ledger()}


@pytest.mark.fault("C9")
def test_the_places_to_die_in_are_counted(place: Place) -> None:
    assert in_child(place.make, None) == MAKING
    assert in_child(place.change, None) == CHANGING
    assert in_child(place.remove, None) == REMOVING


@pytest.fixture
def undisturbed(place: Place, known: list[t.Any]) -> t.Any:
    """What an undisturbed run leaves, found out once."""
    if not known:
        place.make()
        known.append(place.state())
        place.remove()
        assert set(place.devices()) == set(FOREIGN)
    return known[0]


@pytest.fixture(scope="module")
def known() -> list[t.Any]:
    return []


@pytest.mark.fault("C9")
@pytest.mark.parametrize("step", range(MAKING))
def test_making_is_finished_by_the_next_run(place: Place, undisturbed: t.Any, step: int) -> None:
    assert in_child(place.make, step) == -signal.SIGKILL
    nothing_strange(place)
    report = place.make()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert place.state() == undisturbed
    again = place.make()
    assert (again.changed, place.state()) == (False, undisturbed)
    nothing_strange(place)


@pytest.mark.fault("C9")
@pytest.mark.parametrize("step", range(MAKING))
def test_making_is_cleaned_up_by_a_release(place: Place, step: int) -> None:
    assert in_child(place.make, step) == -signal.SIGKILL
    nothing_strange(place)
    _removed(place)


def _removed(place: Place) -> None:
    """Nothing of ours is left, and nothing comes any more."""
    report = place.remove()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert set(place.devices()) == set(FOREIGN)
    assert place.state()[1:] == ([], [])
    time.sleep(0.05)
    nothing_strange(place)


@pytest.mark.fault("C9")
@pytest.mark.parametrize("step", range(REMOVING))
def test_removing_is_finished_by_the_next_run(place: Place, step: int) -> None:
    place.make()
    assert in_child(place.remove, step) == -signal.SIGKILL
    nothing_strange(place)
    report = place.remove()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert set(place.devices()) == set(FOREIGN)
    assert place.state()[1:] == ([], [])
    assert not place.remove().changed


@pytest.mark.fault("C9")
@pytest.mark.parametrize("step", range(REMOVING))
def test_what_was_being_removed_can_be_made_again(place: Place, undisturbed: t.Any, step: int) -> None:
    place.make()
    assert in_child(place.remove, step) == -signal.SIGKILL
    _settle(place)
    report = place.make()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert place.state() == undisturbed
    nothing_strange(place)


@pytest.fixture(scope="module")
def known_changed() -> list[t.Any]:
    return []


@pytest.fixture
def changed(place: Place, known_changed: list[t.Any]) -> t.Any:
    """What stands after all attributes were changed without a disturbance, found out once."""
    if not known_changed:
        place.make()
        place.change()
        known_changed.append(place.state())
        place.remove()
    return known_changed[0]


@pytest.mark.fault("C9")
@pytest.mark.parametrize("step", range(CHANGING))
def test_making_anew_is_finished_by_the_next_run(place: Place, changed: t.Any, step: int) -> None:
    place.make()
    assert in_child(place.change, step) == -signal.SIGKILL
    nothing_strange(place)
    report = place.change()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert place.state() == changed
    assert not place.change().changed
    nothing_strange(place)
    _removed(place)


@pytest.fixture
def slow(place: Place) -> t.Iterator[None]:
    place.host.fleet.client("set_delays", host="h1", parent=CARD, create=0.4)
    yield
    place.host.fleet.client("set_delays", host="h1", parent=CARD, create=0)


@pytest.mark.fault("C9")
@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("step", range(4, 20))
def test_what_a_slow_driver_is_still_at_is_ours_when_it_comes(place: Place, undisturbed: t.Any, step: int) -> None:
    assert in_child(place.make, step) == -signal.SIGKILL
    report = place.make()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert place.state() == undisturbed


@pytest.mark.fault("C9")
@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("step", range(4, 20))
def test_what_a_slow_driver_is_still_at_is_not_left_to_nobody(place: Place, step: int) -> None:
    """The run is killed, a release follows at once, and the driver goes on."""
    assert in_child(place.make, step) == -signal.SIGKILL
    report = place.remove(bind_timeout=0.1)
    time.sleep(0.6)
    nothing_strange(place)
    assert {one["reason"] for one in report.workloads} <= {None, "pending"}, report.workloads
    _removed(place)


class Hung:
    """The first write to ``create`` hangs until the driver wakes up."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.host.fault(f"parents/{CARD}/types/{ONE}/create", kind="hang", op="write", times=1)

    def make(self) -> Report:
        """Waits shortly; all else that is done here hangs nowhere and has the time that a busy machine takes."""
        host = self.place.host
        patient, host.read_timeout = host.read_timeout, 1.0
        try:
            return self.place.make(bind_timeout=0.3)
        finally:
            host.read_timeout = patient

    def killed_while_writing(self, step: int) -> bool:
        """Die at this step with the write at the driver. On a busy machine the step may come before it: again then."""
        for _attempt in range(10):
            assert in_child(self.make, step) == -signal.SIGKILL
            end = time.monotonic() + 2
            while time.monotonic() < end:
                if any(fault["stuck"] for fault in self.place.host.fleet.client("faults", host="h1")):
                    return True
                time.sleep(0.02)
            self.place.remove()
        return False

    def waking(self) -> None:
        """Whoever was stuck comes to an end."""
        self.place.host.clear()
        time.sleep(0.1)


@pytest.fixture
def hung(place: Place) -> t.Iterator[Hung]:
    found = Hung(place)
    yield found
    found.waking()


@pytest.mark.fault("C9", "P6")
def test_the_places_to_die_in_while_a_create_hangs_are_counted(hung: Hung) -> None:
    assert in_child(hung.make, None) == HUNG


@pytest.mark.fault("C9", "P6")
@pytest.mark.parametrize("step", range(HUNG))
def test_what_hangs_in_the_driver_is_finished_by_a_later_run(
    place: Place, undisturbed: t.Any, hung: Hung, step: int
) -> None:
    """Neither the time that has gone by nor the death of the module makes a run forget what may still come."""
    assert in_child(hung.make, step) == -signal.SIGKILL
    report = hung.make()
    assert {one["reason"] for one in report.workloads} <= {None, "pending", "hung"}, report.workloads
    hung.waking()
    nothing_strange(place)
    report = place.make()
    assert all(one["ok"] for one in report.workloads), report.workloads
    assert place.state() == undisturbed
    nothing_strange(place)


@pytest.mark.fault("C9", "P6")
@pytest.mark.parametrize("step", range(HUNG))
def test_what_hangs_in_the_driver_is_not_left_to_nobody_by_a_release(place: Place, hung: Hung, step: int) -> None:
    assert in_child(hung.make, step) == -signal.SIGKILL
    for _again in range(2):
        report = place.remove(bind_timeout=0.1)
        assert {one["reason"] for one in report.workloads} <= {None, "pending"}, report.workloads
        kept = {item["uuid"] for one in report.workloads if not one["ok"] for item in one["instances"]}
        assert kept <= {entry["uuid"] for entry in report.ledger}
    hung.waking()
    nothing_strange(place)
    _removed(place)


@pytest.mark.fault("C9", "P6")
def test_who_is_still_at_work_is_named_and_known_for_as_long_as_it_takes(
    place: Place, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a day later: only the end of that process is the end of it."""
    sent = 6
    assert hung.killed_while_writing(sent)
    assert set(place.devices()) == set(FOREIGN)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    report = place.remove(bind_timeout=0.1)
    said = report.workloads[0]["msg"] or ""
    found = re.search(r"process (\d+) of this run, or of an earlier one, is still at work on it", said)
    assert found is not None, said
    assert (report.workloads[0]["reason"], pathlib.Path("/proc", found[1]).exists()) == ("pending", True)
    assert uuid(1) in {entry["uuid"] for entry in report.ledger}
    planned = place.host.run(*WISHES, persist=True, check_mode=True)
    assert [one["reason"] for one in planned.workloads] == ["pending", None]
    hung.waking()
    _removed(place)


def _settle(place: Place) -> None:
    """The process that was handed the last step lives a moment longer."""
    time.sleep(0.05)
    nothing_strange(place)


@pytest.mark.fault("C9")
def test_a_draft_that_was_left_behind_is_no_ledger(place: Place) -> None:
    place.host.ledger.mkdir()
    (place.host.ledger / "ledger.json.new").write_text('{"schema_ver')
    assert actions(place.make()) == [("created", None)] * 3
    assert uuid(1) in place.devices()
    place.remove()
