# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holders that may not have been seen, processes that are killed at work, and what is said of both."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _mdevs
from ansible_collections.vfio.migration.tests.integration.simulated.test_instances import (
    CARD,
    CREATE,
    IDLE,
    OTHER,
    Host,
    actions,
    fresh,
    gone,
    host,
    in_flight,
    landed,
    running,
    states,
    uuid,
    verdicts,
    wish,
)

__all__ = ["fresh", "host", "running"]

# ----------------------------------------------------------------------------------------------- holders nobody can see

Fault = dict[str, t.Any]
ABSENT: Fault = {"kind": "absent"}
UNREADABLE: Fault = {"kind": "errno", "errno": "EIO", "op": "open"}
NODES = [
    pytest.param({"iommu_group": ABSENT, "vfio-dev": ABSENT}, False, id="no name below /dev/vfio"),
    pytest.param({"vfio-dev": UNREADABLE}, False, id="one of its names cannot be read"),
    pytest.param({"vfio-dev": ABSENT}, True, id="an older kernel"),
    pytest.param({"iommu_group": ABSENT}, True, id="a device without a group"),
    pytest.param({"iommu_group": ABSENT, "vfio-dev": ABSENT, "driver": ABSENT}, True, id="no driver, so no user"),
]


def hide(host: Host, name: str, nodes: dict[str, Fault]) -> None:
    for node, fault in nodes.items():
        host.fault(f"devices/{name}/{node}", **fault)


@pytest.mark.fault("C11")
@pytest.mark.parametrize(("nodes", "sure"), NODES)
def test_a_device_that_may_have_an_unseen_holder_stays(host: Host, nodes: dict[str, Fault], sure: bool) -> None:
    host.run(wish())
    hide(host, uuid(1), nodes)
    report = host.absent()
    assert actions(report) == ([("removed", None)] if sure else [("refused", "holders")])
    if not sure:
        said = report.workloads[0]["msg"] or ""
        assert "may be in use: not every process and every node that leads to it could be looked at" in said
        assert host.writes(f"devices/{uuid(1)}/remove") == 0


@pytest.mark.fault("C11")
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_it_is_not_made_good_by_the_others_that_are_looked_at_with_it(host: Host, hidden: int) -> None:
    """Whichever of several cannot be judged, before, between or after those that can."""
    host.run(*(wish(number) for number in range(3)))
    hide(host, uuid(hidden), {"iommu_group": ABSENT, "vfio-dev": ABSENT})
    report = host.absent()
    assert verdicts(report) == [("vm1", False, "holders")]
    assert host.there() == {uuid(0), uuid(1), uuid(2)}


@pytest.mark.fault("C11")
@pytest.mark.parametrize("name", [IDLE, "00000000-0000-4000-8000-000000000001", "ffffffff-ffff-4fff-8fff-000000000001"])
def test_nothing_is_taken_while_one_of_its_kind_cannot_be_judged(host: Host, name: str) -> None:
    if name != IDLE:
        host.make_by_hand(name)
    hide(host, name, {"iommu_group": ABSENT, "vfio-dev": ABSENT})
    assert actions(host.run(wish(), reuse=True)) == [("created", None)]


@pytest.mark.fault("C11")
def test_the_file_of_a_domain_that_is_broken_is_named(host: Host) -> None:
    host.run(wish())
    host.define(uuid(1))
    path = host.libvirt / "vm 8.xml"
    path.write_text("<domain")
    report = host.absent()
    assert actions(report) == [("refused", "holders")]
    said = report.workloads[0]["msg"] or ""
    assert f"{path}, which names libvirt's domains, could not be read, or made sense of" in said
    assert said.endswith("check it with virt-xml-validate")


# --------------------------------------------------------------------------------------- processes killed at their work


class Killer:
    """Kills the process that writes to a node, from outside, as an administrator or the kernel would."""

    def __init__(self, after: float) -> None:
        self.killed: list[int] = []
        self._after = after
        self._thread = threading.Thread(target=self._kill)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._thread.join()

    def _kill(self) -> None:
        time.sleep(self._after)
        ours = pathlib.Path("/proc/self/cmdline").read_bytes()
        for task in pathlib.Path("/proc/self/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                # Forked, and in its own session: so the process that talks to drivers is told from the fleet's.
                if os.getsid(pid) == pid and pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == ours:
                    os.kill(pid, signal.SIGKILL)
                    self.killed.append(pid)


@pytest.mark.fault("C9")
def test_writer_that_is_killed_costs_one_workload_and_leaves_nothing(fresh: Host) -> None:
    fresh.read_timeout = 5.0
    fresh.fleet.client("set_delays", host="h1", parent=CARD, create=1.0)
    with Killer(0.5) as killer:
        report = fresh.run(wish(1), wish(2, "vm2", parent=OTHER))
    assert len(killer.killed) == 1
    assert verdicts(report) == [("vm1", False, "worker"), ("vm2", True, None)]
    assert "ended unexpectedly" in (report.workloads[0]["msg"] or "")
    assert (fresh.there(), states(report)) == ({uuid(2)}, {uuid(2): "created"})
    fresh.fleet.client("set_delays", host="h1", parent=CARD, create=0)
    assert verdicts(fresh.run(wish(1), wish(2, "vm2", parent=OTHER))) == [("vm1", True, None), ("vm2", True, None)]


@pytest.mark.fault("C9", "P6")
def test_writer_that_is_killed_and_hangs_on_is_not_forgotten(fresh: Host) -> None:
    fresh.read_timeout = 0.3
    fresh.fault(CREATE, kind="hang", op="write", times=1)
    with Killer(0.5) as killer:
        report = fresh.run(wish(1), wish(2, "vm2", parent=OTHER), bind_timeout=1.0)
    assert len(killer.killed) == 1
    assert verdicts(report) == [("vm1", False, "hung"), ("vm2", True, None)]
    assert states(report) == {uuid(1): "creating", uuid(2): "created"}
    again = fresh.run(wish(1), bind_timeout=0.2)
    assert (verdicts(again), states(again)[uuid(1)]) == ([("vm1", False, "pending")], "creating")
    assert f"process {killer.killed[0]} of this run" in (again.workloads[0]["msg"] or "")
    assert landed(fresh)
    assert actions(fresh.run(wish(1))) == [("created", None)]


@pytest.mark.fault("C9")
def test_what_lands_while_it_is_waited_for_is_seen(fresh: Host) -> None:
    """Nothing is said of an instance before whoever is at work on it is done, even if many are looked at together."""
    in_flight(fresh)
    timer = threading.Timer(0.5, fresh.clear)
    timer.start()
    report = fresh.run(wish(1), wish(2), wish(3, "vm2"), bind_timeout=5.0)
    timer.join()
    assert verdicts(report) == [("vm1", True, None), ("vm2", True, None)]
    assert states(report) == {uuid(number): "created" for number in (1, 2, 3)}


@pytest.mark.fault("C11", "C12")
def test_removal_that_waits_for_its_holder_names_it(fresh: Host) -> None:
    """Somebody opens the device at the very moment of the write."""
    fresh.run(wish())
    fresh.fault(f"devices/{uuid(1)}/remove", kind="hang", op="write", times=1)
    assert verdicts(fresh.absent(bind_timeout=0.3)) == [("vm1", False, "hung")]
    fresh.hold(uuid(1))
    assert actions(fresh.absent(bind_timeout=0.3)) == [("refused", "in_use")]
    fresh.fleet.client("stop_workload", host="h1", name="vm 7")
    assert actions(fresh.absent(bind_timeout=0.3)) == [("refused", "pending")]
    fresh.clear()
    assert {reason for _action, reason in actions(fresh.absent())} <= {None, "gone"}
    assert fresh.there() == set()


@pytest.mark.fault("C12")
def test_foreign_one_that_is_being_removed_is_left_to_that(fresh: Host) -> None:
    """Without a name in the ledger, too."""
    fresh.make_by_hand(uuid(1))
    fresh.fault(f"devices/{uuid(1)}/remove", kind="hang", op="write", times=1)
    assert actions(fresh.absent(gone(), force_foreign=True, bind_timeout=0.3)) == [("refused", "hung")]
    assert actions(fresh.absent(gone(), force_foreign=True, bind_timeout=0.3)) == [("refused", "pending")]
    fresh.clear()
    assert {action for action, _reason in actions(fresh.absent(gone(), force_foreign=True))} <= {"none", "removed"}


def test_all_that_hang_are_waited_for_once(fresh: Host) -> None:
    fresh.read_timeout = 0.2
    for number, address in ((1, CARD), (2, OTHER)):
        fresh.fault(f"parents/{address}/types/nv-1/create", kind="hang", op="write", times=1)
        fresh.run(wish(number, f"vm{number}", parent=address), bind_timeout=0.2)
    begin = time.monotonic()
    report = fresh.absent(bind_timeout=1.0)
    assert [reason for _action, reason in actions(report)] == ["pending"] * 2
    assert 0.9 < time.monotonic() - begin < 1.8
    fresh.clear()


# --------------------------------------------------------------------------------------------------------- what is said


@pytest.mark.fault("C11")
def test_the_same_thing_is_not_said_twice(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can neither be finished nor be taken back, for one and the same reason."""
    host.run(wish())

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_mdevs.Mdevs, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        host.absent()
    monkeypatch.undo()
    assert states(host.absent(check_mode=True)) == {uuid(1): "removing"}
    host.hold(uuid(1))
    report = host.run(wish())
    assert verdicts(report) == [("vm1", False, "in_use")]
    said = report.workloads[0]["msg"] or ""
    assert said.count("is held by") == 1
    assert said.endswith("end that first. So it could not be taken back either; run again with state absent")


def test_what_is_pending_is_said_once(host: Host) -> None:
    host.read_timeout = 0.3
    host.fault(CREATE, kind="hang", op="write", times=1)
    first = host.run(wish(), bind_timeout=0.3).workloads[0]["msg"] or ""
    second = host.run(wish(), bind_timeout=0.3).workloads[0]["msg"] or ""
    assert [said.count("is still at work on it") for said in (first, second)] == [1, 1]
    assert landed(host)
