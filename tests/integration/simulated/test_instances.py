# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making and removing instances on a sysfs that answers like a kernel, with everything that goes wrong there."""

from __future__ import annotations

import itertools
import pathlib
import re
import threading
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import (
    _instances,
    _maker,
    _mdevs,
    _order,
    _reader,
    _workloads,
)
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Report
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.modules import mdev
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import device_dir, type_dir, write

CARD, OTHER, LIAR = "0000:3b:00.0", "0000:3c:00.0", "0000:3d:00.0"
ONE, TWO = "nv-1", "nv-2"
HELD, IDLE = "ffffffff-0000-4000-8000-000000000001", "ffffffff-0000-4000-8000-000000000002"
FOREIGN = frozenset((HELD, IDLE))
ACCEPTED = "10de-0000-1-1.2"
CREATE = f"parents/{CARD}/types/{ONE}/create"
REASONS = set(re.findall(r"V\((\w+)\)", mdev.RETURN))
"""Those that are documented."""


def uuid(number: int) -> str:
    """UUIDs of the tests' own instances."""
    return f"11111111-0000-4000-8000-{number:012d}"


def parent(rule: str = "exact", **keys: t.Any) -> dict[str, t.Any]:
    return {
        "driver": "nv",
        "driver_version": "1.2",
        "vendor": "10de",
        "rule": rule,
        "capacity": {"model": "shared_units", "total": 6},
        "types": {ONE: {"attributes": {"first": "0", "second": "0"}}, TWO: {"cost": 2}},
        **keys,
    }


SCENARIO: dict[str, t.Any] = {
    "version": 1,
    "name": "instances",
    "hosts": {
        "h1": {
            "parents": {CARD: parent(), OTHER: parent(), LIAR: parent("lying")},
            "mdevs": [{"uuid": HELD, "parent": CARD, "type": ONE}, {"uuid": IDLE, "parent": CARD, "type": ONE}],
            "workloads": [{"name": "someone", "devices": [HELD]}],
        }
    },
}


class Host:
    """One host and its ledger."""

    def __init__(self, fleet: Fleet, ledger: pathlib.Path) -> None:
        self.fleet = fleet
        self.ledger = ledger
        self.read_timeout = 1.0
        self.libvirt = ledger.parent / "libvirt"

    def fault(self, node: str, **fault: t.Any) -> None:
        self.fleet.client("fault_set", host="h1", fault={"node": node, **fault})

    def clear(self) -> None:
        self.fleet.client("fault_clear", host="h1")

    def there(self) -> set[str]:
        """Instances besides the two that are nobody's business."""
        names = {path.name for path in (self.fleet.host("h1").sysfs_root / "bus/mdev/devices").iterdir()}
        assert names >= FOREIGN
        return names - FOREIGN

    def room(self, parent: str = CARD) -> int:
        return int((type_dir(self.fleet, ONE, parent, "h1") / "available_instances").read_text())

    def writes(self, node: str) -> int:
        return int(self.fleet.client("counters", host="h1")["h1"].get(node, {"writes": 0})["writes"])

    def make_by_hand(self, name: str, type_id: str = ONE, parent: str = CARD) -> None:
        write(type_dir(self.fleet, type_id, parent, "h1") / "create", name.encode())

    def remove_by_hand(self, name: str) -> None:
        write(device_dir(self.fleet, name, host="h1") / "remove", b"1")

    def hold(self, name: str) -> None:
        workload = {"name": "vm 7", "uuid": uuid(777), "devices": [name]}
        self.fleet.client("start_workload", host="h1", workload=workload)

    def define(self, name: str) -> None:
        """A libvirt domain that does not run."""
        self.libvirt.mkdir()
        (self.libvirt / "vm 8.xml").write_text(
            f"<domain><name>vm 8</name><uuid>{uuid(888)}</uuid><devices><hostdev type='mdev'><source>"
            f"<address uuid='{name}'/></source></hostdev></devices></domain>"
        )

    def run(self, *instances: dict[str, t.Any], check_mode: bool = False, **params: t.Any) -> Report:
        defaults = {
            "plan": "p1",
            "state": "present",
            "persist": False,
            "reuse": False,
            "workloads": None,
            "all_ours": False,
            "force_foreign": False,
            "bind_timeout": 2.0,
        }
        wanted = {**defaults, "instances": list(instances) or None, **params}
        order, errors = _order.parse(wanted)
        assert errors == []
        roots = self.fleet.host("h1")
        location = "bus/{bus}/devices/{address}/migration_version"
        options = _reader.Options(
            sysfs_root=str(roots.sysfs_root),
            proc_root=str(roots.proc_root),
            read_timeout=self.read_timeout,
            deadline=20.0,
            device_attribute=location,
            host="h1",
            kernel="6.12.0",
            page_size=4096,
            libvirt_roots=(str(self.libvirt),),
        )
        report = _instances.run(options, order, str(self.ledger), wanted["state"] == "absent", check_mode)
        given = {one["reason"] for done in report.workloads for one in (done, *done["instances"])}
        assert given - {None} <= REASONS
        return report

    def absent(self, *instances: dict[str, t.Any], **params: t.Any) -> Report:
        return self.run(*instances, state="absent", **params)


def wish(number: int = 1, workload: str = "vm1", **keys: t.Any) -> dict[str, t.Any]:
    return {
        "uuid": uuid(number),
        "parent": CARD,
        "type": ONE,
        "workload": workload,
        "attributes": None,
        "accepts": None,
        **keys,
    }


def gone(number: int = 1, **keys: t.Any) -> dict[str, t.Any]:
    """An instance named by its UUID alone."""
    return {**wish(number), "parent": None, "type": None, "workload": None, **keys}


def actions(report: Report) -> list[tuple[str, str | None]]:
    return [(item["action"], item["reason"]) for one in report.workloads for item in one["instances"]]


def verdicts(report: Report) -> list[tuple[str | None, bool, str | None]]:
    return [(one["workload"], one["ok"], one["reason"]) for one in report.workloads]


def states(report: Report) -> dict[str, str]:
    return {entry["uuid"]: entry["state"] for entry in report.ledger}


@pytest.fixture(scope="module")
def running() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as fleet:
        yield fleet


@pytest.fixture
def host(running: Fleet, tmp_path: pathlib.Path) -> t.Iterator[Host]:
    """The host as it was at the start, with an empty ledger."""
    running.client("reset_counters")
    found = Host(running, tmp_path / "ledger")
    yield found
    found.clear()
    if "vm 7" in running.client("status")["h1"]["workloads"]:
        running.client("stop_workload", host="h1", name="vm 7")
    for name in found.there():
        found.remove_by_hand(name)


@pytest.fixture
def fresh(tmp_path: pathlib.Path) -> t.Iterator[Host]:
    """A host of its own, for a test that breaks it."""
    with simulated_fleet(SCENARIO) as fleet:
        yield Host(fleet, tmp_path / "ledger")


# ------------------------------------------------------------------------------------------------------------ the usual


def test_made_once_remembered_and_taken_back(host: Host) -> None:
    wishes = [wish(1, attributes=[{"name": "first", "value": "7"}]), wish(2, parent=OTHER), wish(3, "vm2")]
    made = host.run(*wishes)
    assert actions(made) == [("created", None)] * 3
    assert verdicts(made) == [("vm1", True, None), ("vm2", True, None)]
    assert host.there() == {uuid(1), uuid(2), uuid(3)}
    assert (device_dir(host.fleet, uuid(1), host="h1") / "first").read_text() == "7\n"
    device = made.workloads[0]["instances"][0]["device"]
    assert device is not None
    assert (device["id"], device["parent"], device["type"], device["in_use_by"]) == (uuid(1), CARD, ONE, [])
    assert device["migration_version"]["value"] == ACCEPTED
    assert [(entry["plan"], entry["workload"], entry["state"]) for entry in made.ledger] == [
        ("p1", "vm1", "created"),
        ("p1", "vm1", "created"),
        ("p1", "vm2", "created"),
    ]
    again = host.run(*wishes)
    assert (again.changed, actions(again)) == (False, [("unchanged", None)] * 3)
    assert again.before == again.after
    back = host.absent(workloads=["vm1"])
    assert (back.changed, actions(back), host.there()) == (True, [("removed", None)] * 2, {uuid(3)})
    assert actions(host.absent()) == [("removed", None)]
    nothing = host.absent()
    assert (nothing.changed, nothing.workloads, nothing.ledger, host.there()) == (False, [], [], set())


@pytest.mark.fault("P10")
def test_check_mode_says_the_same_and_writes_nothing(host: Host) -> None:
    wishes = [wish(1, accepts=ACCEPTED, attributes=[{"name": "first", "value": "7"}]), wish(2, "vm2")]
    planned = host.run(*wishes, check_mode=True)
    assert not host.ledger.exists()
    done = host.run(*wishes)
    assert (planned.changed, actions(planned)) == (done.changed, actions(done))
    assert (planned.before, planned.after) == (done.before, done.after)
    before = (host.ledger / "ledger.json").read_bytes()
    counters = host.fleet.client("counters", host="h1")
    planned = host.absent(check_mode=True)
    assert host.there() == {uuid(1), uuid(2)}
    assert (host.ledger / "ledger.json").read_bytes() == before
    assert {node: one["writes"] for node, one in host.fleet.client("counters", host="h1")["h1"].items()} == {
        node: one["writes"] for node, one in counters["h1"].items()
    } | dict.fromkeys(set(host.fleet.client("counters", host="h1")["h1"]) - set(counters["h1"]), 0)
    done = host.absent()
    assert (planned.changed, actions(planned)) == (done.changed, actions(done))
    assert (planned.before, planned.after) == (done.before, done.after)


def test_difference_names_what_comes_and_goes(host: Host) -> None:
    line: t.Any = {"uuid": uuid(1), "parent": CARD, "type": ONE, "owner": "p1: vm1", "attributes": []}
    made, back = host.run(wish()), host.absent()
    assert (made.before, made.after) == ([], [line])
    assert (back.before, back.after) == ([line], [])


@pytest.mark.fault("C4")
@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "%s\n", "%s"])
def test_unusual_spellings_are_the_same_instance(host: Host, spelling: str) -> None:
    proxmox = "00000107-0000-0000-0000-00000000abcd"
    made = host.run(wish(uuid=spelling % proxmox.upper()))
    assert (made.workloads[0]["instances"][0]["uuid"], host.there()) == (proxmox, {proxmox})
    assert actions(host.run(wish(uuid=proxmox))) == [("unchanged", None)]


# ------------------------------------------------------------------------------------------------ what is there already


@pytest.mark.fault("C2")
def test_same_instance_of_somebody_else_is_left_as_it_is(host: Host) -> None:
    host.make_by_hand(uuid(1))
    report = host.run(wish())
    assert (report.changed, actions(report), report.ledger) == (False, [("unchanged", None)], [])
    assert host.writes(CREATE) == 1, "only the one by hand"


@pytest.mark.fault("C2", "C19")
@pytest.mark.parametrize(("type_id", "address"), [(TWO, CARD), (ONE, OTHER)])
def test_another_instance_in_its_place_is_a_conflict_and_stays(host: Host, type_id: str, address: str) -> None:
    host.make_by_hand(uuid(1), type_id, address)
    report = host.run(wish())
    assert actions(report) == [("refused", "conflict")]
    assert f"there is instance {uuid(1)} ({type_id} on {address}) already" in (report.workloads[0]["msg"] or "")
    assert (host.there(), report.ledger) == ({uuid(1)}, [])


@pytest.mark.fault("C19", "C10")
def test_what_replaced_ours_is_not_ours(host: Host) -> None:
    host.run(wish())
    host.remove_by_hand(uuid(1))
    host.make_by_hand(uuid(1), TWO)
    assert actions(host.run(wish())) == [("refused", "conflict")]
    report = host.absent()
    assert (actions(report), report.ledger, host.there()) == ([("none", "foreign")], [], {uuid(1)})


@pytest.mark.fault("C10")
def test_what_somebody_removed_is_made_again_or_forgotten(host: Host) -> None:
    host.run(wish())
    host.remove_by_hand(uuid(1))
    assert actions(host.run(wish())) == [("created", None)]
    host.remove_by_hand(uuid(1))
    report = host.absent()
    assert (report.changed, actions(report), report.ledger) == (True, [("removed", "gone")], [])


@pytest.mark.fault("C10")
def test_what_goes_while_it_is_made_is_noticed(host: Host) -> None:
    host.fault(f"devices/{uuid(1)}/second", kind="trigger", op="write", action="remove_device")
    report = host.run(wish(attributes=[{"name": "first", "value": "1"}, {"name": "second", "value": "1"}]))
    assert verdicts(report) == [("vm1", False, "attribute")]
    assert (host.there(), report.ledger) == (set(), [])


@pytest.mark.fault("C10")
def test_what_goes_while_the_next_one_is_made_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _mdevs.Mdevs.configure

    def configure(self: _mdevs.Mdevs, found: t.Any, wanted: t.Any) -> None:
        real(self, found, wanted)
        if found.uuid == uuid(2):
            host.remove_by_hand(uuid(1))

    monkeypatch.setattr(_mdevs.Mdevs, "configure", configure)
    report = host.run(wish(1), wish(2), wish(3, "vm2"))
    assert verdicts(report) == [("vm1", False, "gone"), ("vm2", True, None)]
    assert (host.there(), list(states(report))) == ({uuid(3)}, [uuid(3)])


def test_instance_of_another_workload_is_refused(host: Host) -> None:
    host.run(wish())
    report = host.run(wish(workload="vm2"))
    assert actions(report) == [("refused", "other_owner")]
    assert "belongs to workload vm1 of plan p1" in (report.workloads[0]["msg"] or "")
    assert actions(host.absent(gone(), plan="p2")) == [("refused", "other_owner")]
    assert host.there() == {uuid(1)}


def test_a_new_plan_for_the_same_workload_takes_over(host: Host) -> None:
    host.run(wish())
    report = host.run(wish(), plan="p2")
    assert (report.changed, actions(report)) == (True, [("unchanged", None)])
    assert [entry["plan"] for entry in report.ledger] == ["p2"]
    assert not host.run(wish(), plan="p2").changed


# ------------------------------------------------------------------------------------------------- what the kernel says


@pytest.mark.fault("C1")
@pytest.mark.parametrize("errno", ["ENOSPC", "EUSERS", "EINVAL", "EIO", "EPERM"])
def test_driver_that_refuses_is_asked_once_and_the_rest_goes_on(host: Host, errno: str) -> None:
    host.fault(CREATE, fault="C1", errno=errno)
    report = host.run(wish(1), wish(2, parent=OTHER), wish(3, "vm2", parent=OTHER))
    reason = "permission" if errno == "EPERM" else "errno"
    assert actions(report) == [("refused", reason), ("none", None), ("created", None)]
    assert errno in (report.workloads[0]["msg"] or "")
    assert "look at the kernel log" in (report.workloads[0]["msg"] or ""), "root gets EPERM from the driver"
    assert (host.writes(CREATE), host.there(), list(states(report))) == (1, {uuid(3)}, [uuid(3)])


@pytest.mark.fault("C1", "C7")
def test_lost_room_is_called_that_whatever_the_errno(host: Host) -> None:
    room = f"parents/{CARD}/types/{ONE}/available_instances"
    host.fault(CREATE, fault="C1", errno="EINVAL")
    host.fault(room, kind="value", value="0\n", after=2)
    report = host.run(wish())
    assert (actions(report), host.writes(CREATE)) == ([("refused", "no_room")], 1)


@pytest.mark.fault("C7", "C1")
def test_siblings_take_each_others_room_and_the_workload_is_undone(host: Host) -> None:
    """Six units, two taken: two and two more fit, the next two units do not."""
    report = host.run(wish(1, type=TWO), wish(2, type=TWO), wish(3), wish(4, "vm2", parent=OTHER))
    assert actions(report) == [("rolled_back", None), ("rolled_back", None), ("refused", "no_room"), ("created", None)]
    assert verdicts(report) == [("vm1", False, "no_room"), ("vm2", True, None)]
    assert (host.there(), host.room()) == ({uuid(4)}, 4)
    assert host.writes(CREATE) == 0, "where there is no room nothing is asked"


@pytest.mark.fault("C6")
@pytest.mark.parametrize("errno", ["EIO", "EINVAL", "ENODEV"])
def test_device_that_exists_despite_an_error_is_ours(host: Host, errno: str) -> None:
    host.fault(CREATE, fault="C6", errno=errno)
    report = host.run(wish())
    assert (actions(report), states(report)) == ([("created", None)], {uuid(1): "created"})


@pytest.mark.fault("C6")
def test_device_that_does_not_exist_despite_a_success_is_not_there(host: Host) -> None:
    host.fault(CREATE, kind="create_lies", op="write", made=False)
    report = host.run(wish())
    assert (actions(report), report.ledger) == ([("refused", "not_created")], [])


@pytest.mark.fault("C2", "C19")
def test_device_that_appears_at_the_last_moment_is_somebody_elses(host: Host) -> None:
    """EEXIST, although it was not there a moment ago."""
    host.fault(CREATE, fault="C6", errno="EEXIST")
    report = host.run(wish())
    assert (actions(report), report.ledger, host.there()) == ([("refused", "conflict")], [], {uuid(1)})


@pytest.mark.fault("C5")
def test_attribute_that_is_refused_undoes_the_workload(host: Host) -> None:
    host.fault(f"devices/{uuid(2)}/second", fault="C5")
    attributes = [{"name": "first", "value": "1"}, {"name": "second", "value": "2"}]
    report = host.run(wish(1), wish(2, attributes=attributes), wish(3))
    assert actions(report) == [("rolled_back", None), ("rolled_back", "attribute"), ("none", None)]
    assert "attribute second did not take '2': EINVAL" in (report.workloads[0]["msg"] or "")
    assert (host.there(), report.ledger, report.changed) == (set(), [], False)
    assert host.writes(f"devices/{uuid(2)}/second") == 1


@pytest.mark.fault("C5", "R8")
def test_attribute_at_which_the_driver_hangs_is_not_the_plans_mistake(host: Host) -> None:
    host.read_timeout = 0.3
    host.fault(f"devices/{uuid(1)}/first", kind="hang", op="write")
    report = host.run(wish(attributes=[{"name": "first", "value": "1"}]), bind_timeout=0.2)
    assert actions(report) == [("refused", "hung")]
    assert "did not answer within read_timeout" in (report.workloads[0]["msg"] or "")


def test_attributes_are_written_in_order_once_each(host: Host) -> None:
    host.run(wish(attributes=[{"name": "first", "value": value} for value in ("1", "2", "3")]))
    assert (device_dir(host.fleet, uuid(1), host="h1") / "first").read_text() == "3\n"
    assert host.writes(f"devices/{uuid(1)}/first") == 3


def test_attribute_that_does_not_exist(host: Host) -> None:
    report = host.run(wish(attributes=[{"name": "third", "value": "1"}]), bind_timeout=0.2)
    assert actions(report) == [("rolled_back", "attribute")]
    assert "has no attribute third" in (report.workloads[0]["msg"] or "")


@pytest.mark.fault("P9", "C18")
def test_device_that_refuses_its_source_is_removed_again(host: Host) -> None:
    report = host.run(wish(1, parent=LIAR, accepts=ACCEPTED), wish(2, "vm2", accepts=ACCEPTED))
    assert actions(report) == [("rolled_back", "inconsistent"), ("created", None)]
    assert host.there() == {uuid(2)}
    assert list(states(report)) == [uuid(2)]


def test_device_that_does_not_say_that_it_accepts_is_no_yes(host: Host) -> None:
    host.fault(f"devices/{uuid(1)}/migration_version", kind="errno", op="open", errno="EROFS")
    assert actions(host.run(wish(accepts=ACCEPTED))) == [("rolled_back", "not_probed")]
    assert host.there() == set()


def test_device_that_cannot_be_asked_is_no_yes_and_did_not_go_away(host: Host) -> None:
    host.fault(f"devices/{uuid(1)}/migration_version", kind="absent")
    report = host.run(wish(accepts=ACCEPTED))
    assert actions(report) == [("rolled_back", "absent")]
    assert "the device has no migration_version" in (report.workloads[0]["msg"] or "")
    assert host.there() == set()


@pytest.mark.fault("C8")
def test_parent_that_goes_takes_only_its_own_workload_along(fresh: Host) -> None:
    fresh.fault(CREATE, fault="C8")
    there = {path.name for path in (fresh.fleet.host("h1").sysfs_root / "bus/mdev/devices").iterdir()}
    assert there == FOREIGN
    report = fresh.run(wish(1, parent=OTHER), wish(2), wish(3, "vm2", parent=OTHER))
    assert actions(report) == [("rolled_back", None), ("refused", "gone"), ("created", None)]
    left = {path.name for path in (fresh.fleet.host("h1").sysfs_root / "bus/mdev/devices").iterdir()}
    assert (left, list(states(report))) == ({uuid(3)}, [uuid(3)])


@pytest.mark.fault("C15")
def test_parent_that_registers_late_is_waited_for(fresh: Host) -> None:
    fresh.fleet.client("unregister", host="h1", parent=OTHER)
    assert actions(fresh.run(wish(parent=OTHER), bind_timeout=0.2)) == [("refused", "no_parent")]
    fresh.fault(f"parents/{OTHER}", kind="vanish", times=40)
    fresh.fleet.client("plug", host="h1", parent=OTHER)
    assert actions(fresh.run(wish(parent=OTHER), bind_timeout=5.0)) == [("created", None)]


@pytest.mark.fault("C15")
def test_parents_that_never_come_cost_the_wait_once(fresh: Host) -> None:
    fresh.fleet.client("unregister", host="h1", parent=OTHER)
    begin = time.monotonic()
    report = fresh.run(*(wish(number, f"vm{number}", parent=OTHER) for number in range(6)), bind_timeout=0.5)
    assert [reason for _action, reason in actions(report)] == ["no_parent"] * 6
    assert time.monotonic() - begin < 2


def test_type_that_is_not_offered(host: Host) -> None:
    assert actions(host.run(wish(type="nv-9"))) == [("refused", "no_type")]


def test_driver_that_binds_late_is_waited_for(host: Host) -> None:
    host.fault(f"devices/{uuid(1)}/driver", kind="absent", times=20)
    assert actions(host.run(wish())) == [("created", None)]


def test_driver_that_never_binds(host: Host) -> None:
    host.fault(f"devices/{uuid(1)}/driver", kind="absent")
    assert actions(host.run(wish(), bind_timeout=0.3)) == [("rolled_back", "not_bound")]
    assert host.there() == set()


@pytest.mark.fault("P6")
def test_create_that_hangs_is_left_behind_and_stays_in_the_ledger(host: Host) -> None:
    """Nobody knows what comes of it, so the next run, or the next release, looks after it."""
    host.read_timeout = 0.3
    host.fault(CREATE, kind="hang", op="write")
    begin = time.monotonic()
    report = host.run(wish(1), wish(2, "vm2", parent=OTHER), bind_timeout=0.5)
    assert time.monotonic() - begin < 5
    assert verdicts(report) == [("vm1", False, "hung"), ("vm2", True, None)]
    assert states(report) == {uuid(1): "creating", uuid(2): "created"}
    host.clear()
    end = time.monotonic() + 5
    while uuid(1) not in host.there() and time.monotonic() < end:
        time.sleep(0.02)
    assert actions(host.run(wish(1))) == [("created", None)]


# ------------------------------------------------------------------------------------------------------------- removing


@pytest.mark.fault("C11")
def test_device_in_use_is_refused_by_name_and_never_written_to(host: Host) -> None:
    host.run(wish(1), wish(2))
    host.hold(uuid(1))
    report = host.absent()
    assert actions(report) == [("refused", "in_use"), ("none", None)], "all of a workload, or nothing"
    assert [holder["workload"] for holder in report.workloads[0]["instances"][0]["holders"]] == [uuid(777)]
    assert f"is held by /usr/bin/qemu-system-x86_64 (process 2002, {uuid(777)})" in (report.workloads[0]["msg"] or "")
    assert actions(host.absent(gone(uuid=HELD), force_foreign=True)) == [("refused", "in_use")]
    assert (host.writes(f"devices/{uuid(1)}/remove"), host.writes(f"devices/{HELD}/remove")) == (0, 0)
    assert host.there() == {uuid(1), uuid(2)}
    host.fleet.client("stop_workload", host="h1", name="vm 7")
    assert actions(host.absent()) == [("removed", None)] * 2


@pytest.mark.fault("C11")
def test_device_that_is_taken_at_the_last_moment_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look right before the write decides, not the one before that."""
    host.run(wish())
    looks = itertools.count()
    real = _mdevs.Mdevs.check_free

    def check(self: _mdevs.Mdevs, found: t.Any, *processes: t.Any) -> None:
        if next(looks) == 2:
            host.hold(uuid(1))
        real(self, found, *processes)

    monkeypatch.setattr(_mdevs.Mdevs, "check_free", check)
    assert actions(host.absent()) == [("refused", "in_use")]
    assert host.writes(f"devices/{uuid(1)}/remove") == 0


@pytest.mark.fault("C11")
def test_device_of_a_domain_that_does_not_run_is_refused_by_name(host: Host) -> None:
    host.run(wish())
    host.define(uuid(1))
    report = host.absent()
    assert actions(report) == [("refused", "in_use")]
    said = report.workloads[0]["msg"] or ""
    assert "is held by libvirt domain vm 8; to free it, take it out of there first" in said
    assert host.writes(f"devices/{uuid(1)}/remove") == 0
    (host.libvirt / "vm 8.xml").write_text("<domain")
    assert actions(host.absent()) == [("refused", "holders")]
    (host.libvirt / "vm 8.xml").unlink()
    assert actions(host.absent()) == [("removed", None)]


def test_device_of_a_domain_that_does_not_run_is_not_reused(host: Host) -> None:
    host.define(IDLE)
    assert actions(host.run(wish(), reuse=True)) == [("created", None)]


@pytest.mark.fault("C11")
def test_device_whose_holders_nobody_can_tell_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(wish())
    monkeypatch.setattr(_workloads, "processes", lambda _root, _guard: ([], False))
    report = host.absent()
    assert actions(report) == [("refused", "holders")]
    assert "become: true" in (report.workloads[0]["msg"] or "")
    assert host.there() == {uuid(1)}


@pytest.mark.fault("C12")
def test_remove_that_is_refused_for_the_moment_is_tried_again(host: Host) -> None:
    host.run(wish())
    host.fault(f"devices/{uuid(1)}/remove", fault="C12")
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C12")
def test_remove_that_is_always_refused_ends(host: Host) -> None:
    host.run(wish())
    host.fault(f"devices/{uuid(1)}/remove", fault="C12", times=100)
    report = host.absent()
    assert (actions(report), states(report)) == ([("refused", "busy")], {uuid(1): "created"})
    host.clear()
    assert (host.run(wish()).changed, host.writes(CREATE)) == (False, 1), "it stands, and is as good as before"
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C6")
def test_remove_that_reports_an_error_but_works_is_done(host: Host) -> None:
    host.run(wish())
    host.fault(f"devices/{uuid(1)}/remove", kind="trigger", op="write", action="remove_device")
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C19")
def test_foreign_devices_need_force(host: Host) -> None:
    host.make_by_hand(uuid(1))
    assert actions(host.absent(gone())) == [("refused", "foreign")]
    assert actions(host.absent(gone(parent=OTHER), force_foreign=True)) == [("refused", "conflict")]
    assert actions(host.absent(gone(), all_ours=False, plan=None)) == [("refused", "foreign")]
    assert host.there() == {uuid(1)}
    assert actions(host.absent(gone(), force_foreign=True)) == [("removed", None)]
    assert actions(host.absent(gone(), force_foreign=True)) == [("none", None)]


def test_everything_that_is_ours(host: Host) -> None:
    host.run(wish(1), plan="p1")
    host.run(wish(2, "vm2"), plan="p2")
    assert actions(host.absent(plan="p3")) == []
    assert actions(host.absent(plan=None, all_ours=True)) == [("removed", None)] * 2


def test_a_hung_remove_is_announced_and_left_behind(host: Host) -> None:
    host.read_timeout = 0.3
    host.run(wish())
    host.fault(f"devices/{uuid(1)}/remove", kind="hang", op="write")
    report = host.absent(bind_timeout=0.5)
    assert (actions(report), states(report)) == ([("refused", "hung")], {uuid(1): "removing"})
    host.clear()


@pytest.mark.fault("C11")
def test_a_remove_that_the_kernel_is_still_at_is_not_done(host: Host) -> None:
    """It is off its bus at once, but its room comes back only when whoever holds it lets go."""
    host.run(wish())
    room = host.room()
    host.fleet.client("set_delays", host="h1", parent=CARD, remove=4)
    report = host.absent(bind_timeout=1.0)
    assert (host.there(), host.room()) == (set(), room)
    assert (actions(report), states(report)) == ([("refused", "hung")], {uuid(1): "removing"})
    again = host.absent(bind_timeout=0.2)
    assert (verdicts(again), states(again)) == ([("vm1", False, "pending")], {uuid(1): "removing"})
    host.fleet.client("set_delays", host="h1", parent=CARD, remove=0)
    assert soon(lambda: host.room() == room + 1)
    assert actions(host.absent()) == [("removed", "gone")]


@pytest.mark.fault("C11", "C12")
def test_a_uuid_that_is_still_being_removed_is_not_made(host: Host) -> None:
    host.make_by_hand(uuid(1))
    host.hold(uuid(1))
    remover = threading.Thread(target=host.remove_by_hand, args=(uuid(1),), daemon=True)
    remover.start()
    assert soon(lambda: uuid(1) not in host.there())
    report = host.run(wish(), bind_timeout=0.3)
    assert verdicts(report) == [("vm1", False, "busy")]
    assert "still being removed" in (report.workloads[0]["msg"] or "")
    host.fleet.client("stop_workload", host="h1", name="vm 7")
    remover.join(5)
    assert verdicts(host.run(wish())) == [("vm1", True, None)]


@pytest.mark.fault("C12", "R18")
def test_half_made_devices_stay_and_one_whose_remove_was_spent_cannot_go(fresh: Host) -> None:
    """A remove that comes while the driver makes the instance answers EAGAIN, and takes its own file along."""
    fresh.fleet.client("set_delays", host="h1", parent=CARD, bind=1.5)
    maker = threading.Thread(target=fresh.make_by_hand, args=(uuid(1),), daemon=True)
    maker.start()
    assert soon(lambda: uuid(1) in fresh.there())
    report = fresh.absent(gone(), force_foreign=True)
    assert actions(report) == [("refused", "busy")]
    assert "still being made" in (report.workloads[0]["msg"] or "")
    assert fresh.writes(f"devices/{uuid(1)}/remove") == 0
    with pytest.raises(BlockingIOError):
        fresh.remove_by_hand(uuid(1))
    maker.join(5)
    report = fresh.absent(gone(), force_foreign=True)
    assert actions(report) == [("refused", "not_removed")]
    assert "unbind the parent's driver" in (report.workloads[0]["msg"] or "")


def in_flight(host: Host) -> None:
    """A run ends while the driver is at it; what it makes comes some time later."""
    host.read_timeout = 0.3
    host.fault(CREATE, kind="hang", op="write", times=1)
    assert verdicts(host.run(wish(1), bind_timeout=0.3)) == [("vm1", False, "hung")]


def soon(done: t.Callable[[], bool]) -> bool:
    """Whether it comes true within some seconds."""
    end = time.monotonic() + 5
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    return done()


def landed(host: Host) -> bool:
    host.clear()
    return soon(lambda: uuid(1) in host.there())


@pytest.mark.fault("C9")
def test_release_keeps_what_the_driver_may_still_be_making(host: Host) -> None:
    in_flight(host)
    report = host.absent(bind_timeout=0.2)
    assert (verdicts(report), states(report)) == ([("vm1", False, "pending")], {uuid(1): "creating"})
    assert "run again" in (report.workloads[0]["msg"] or "")
    assert not report.changed
    assert landed(host)
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C9")
@pytest.mark.parametrize("changes", [{}, {"type": TWO}, {"parent": OTHER}])
def test_rerun_keeps_what_the_driver_may_still_be_making(host: Host, changes: dict[str, t.Any]) -> None:
    in_flight(host)
    host.fault(f"parents/{CARD}/types/{ONE}/available_instances", kind="value", value="0\n")
    again = host.run(wish(1, **changes), bind_timeout=0.3, reuse=True)
    assert ([one["ok"] for one in again.workloads], states(again)) == ([False], {uuid(1): "creating"})
    assert landed(host)
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C9")
def test_what_never_came_is_forgotten(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.fault(CREATE, kind="create_lies", op="write", made=False)
    monkeypatch.setattr(_maker.Maker, "forget", lambda *_arguments: None)
    assert states(host.run(wish())) == {uuid(1): "creating"}
    monkeypatch.undo()
    assert actions(host.absent(bind_timeout=0.1)) == [("removed", "gone")]


# ---------------------------------------------------------------------------------------------- what breaks beneath us


@pytest.mark.fault("C13")
@pytest.mark.parametrize("state", ["present", "absent"])
def test_boot_that_has_no_name_stops_everything(host: Host, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    host.run(wish())
    before = (host.ledger / "ledger.json").read_bytes()
    monkeypatch.setattr(_reader, "boot_id", lambda _root: None)
    with pytest.raises(LedgerError, match="boot id of the host cannot be read"):
        host.run(wish(), state=state)
    assert (host.there(), (host.ledger / "ledger.json").read_bytes()) == ({uuid(1)}, before)


@pytest.mark.fault("C13")
def test_nothing_is_made_in_a_boot_that_has_no_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "boot_id", lambda _root: None)
    assert host.absent().workloads == []
    with pytest.raises(LedgerError, match="nothing was made"):
        host.run(wish())
    assert host.there() == set()


@pytest.mark.fault("C9")
@pytest.mark.parametrize("failing", [2, 3])
def test_ledger_that_cannot_be_written_loses_no_results(
    host: Host, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    host.run(wish(1), wish(2, "vm2"))
    saves = itertools.count()
    real = LedgerFile._save

    def save(self: LedgerFile, entries: t.Any) -> None:
        if next(saves) == failing:
            raise LedgerError("the ledger cannot be written: No space left on device")
        real(self, entries)

    monkeypatch.setattr(LedgerFile, "_save", save)
    report = host.absent()
    assert (report.changed, verdicts(report)) == (True, [("vm1", True, None), ("vm2", False, "ledger")])
    monkeypatch.undo()
    assert [one["ok"] for one in host.absent().workloads] == [True]
    assert host.there() == set()


@pytest.mark.fault("C9")
def test_ledger_that_cannot_be_finished_says_what_stands(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: _maker.Maker, _jobs: t.Any) -> None:
        raise LedgerError("the ledger cannot be written: No space left on device")

    monkeypatch.setattr(_maker.Maker, "_confirm", full)
    report = host.run(wish())
    assert (report.changed, verdicts(report), actions(report)) == (
        True,
        [("vm1", False, "ledger")],
        [("created", None)],
    )
    monkeypatch.undo()
    assert (verdicts(host.run(wish())), host.writes(CREATE)) == ([("vm1", True, None)], 1)


@pytest.mark.fault("C9")
def test_worker_that_dies_costs_one_workload(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _mdevs.Mdevs.create

    def create(self: _mdevs.Mdevs, wanted: t.Any, *arguments: t.Any) -> t.Any:
        if wanted.uuid == uuid(2):
            raise WorkerError("the process died")
        return real(self, wanted, *arguments)

    monkeypatch.setattr(_mdevs.Mdevs, "create", create)
    report = host.run(wish(1), wish(2, "vm2"), wish(3, "vm3"))
    assert verdicts(report) == [("vm1", True, None), ("vm2", False, "worker"), ("vm3", True, None)]
    assert (report.changed, host.there()) == (True, {uuid(1), uuid(3)})


def test_removal_counts_as_a_change_even_if_what_follows_fails(host: Host) -> None:
    host.run(wish())
    host.read_timeout = 0.3
    host.fault(f"devices/{uuid(1)}/remove", kind="hang", op="write")
    host.absent(bind_timeout=0.3)
    host.clear()
    host.read_timeout = 1.0
    host.fault(CREATE, fault="C1", errno="EINVAL")
    report = host.run(wish())
    assert (report.changed, host.there(), report.ledger) == (True, set(), [])


# ------------------------------------------------------------------------------------------------------ whose it is


@pytest.mark.fault("C2")
def test_foreign_instance_that_is_held_is_not_free(host: Host) -> None:
    host.make_by_hand(uuid(1))
    host.hold(uuid(1))
    report = host.run(wish())
    assert (actions(report), report.ledger) == ([("refused", "in_use")], [])


@pytest.mark.fault("C2")
def test_foreign_instance_cannot_be_vouched_for_with_attributes(host: Host) -> None:
    host.make_by_hand(uuid(1))
    report = host.run(wish(attributes=[{"name": "first", "value": "7"}]))
    assert (actions(report), report.ledger, host.writes(f"devices/{uuid(1)}/first")) == (
        [("refused", "conflict")],
        [],
        0,
    )


@pytest.mark.fault("C10")
def test_what_goes_before_the_last_look_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _maker.Maker._make

    def make(self: _maker.Maker, job: t.Any) -> None:
        real(self, job)
        host.remove_by_hand(job.uuid)

    monkeypatch.setattr(_maker.Maker, "_make", make)
    report = host.run(wish())
    assert (actions(report), report.ledger, host.there()) == ([("refused", "gone")], [], set())


def test_release_takes_all_or_nothing_when_the_second_is_held(host: Host) -> None:
    host.run(wish(1), wish(2))
    host.hold(uuid(2))
    assert actions(host.absent()) == [("none", None), ("refused", "in_use")]
    assert (host.there(), host.writes(f"devices/{uuid(1)}/remove")) == ({uuid(1), uuid(2)}, 0)


def test_instances_of_nobody_stand_each_for_itself(host: Host) -> None:
    host.make_by_hand(uuid(1))
    report = host.absent(gone(uuid=HELD), gone(1), force_foreign=True, plan=None)
    assert actions(report) == [("refused", "in_use"), ("removed", None)]
    assert host.there() == set()


def test_release_that_names_another_workload_is_refused(host: Host) -> None:
    host.run(wish())
    assert actions(host.absent(gone(workload="vm2"), plan=None)) == [("refused", "other_owner")]
    assert actions(host.absent(gone(workload="vm1"), plan=None)) == [("removed", None)]


def test_device_in_use_is_not_written_to_by_a_rerun(host: Host) -> None:
    host.run(wish(accepts=ACCEPTED))
    host.hold(uuid(1))
    before = host.writes(f"devices/{uuid(1)}/migration_version")
    assert actions(host.run(wish(accepts=ACCEPTED))) == [("unchanged", None)]
    assert host.writes(f"devices/{uuid(1)}/migration_version") == before


# ---------------------------------------------------------------------------------------------------------------- reuse


def test_what_was_taken_and_is_held_by_another_is_not_ours_any_more(host: Host) -> None:
    host.run(wish(), reuse=True)
    host.hold(IDLE)
    assert actions(host.run(wish(), reuse=True)) == [("refused", "in_use")]
    host.fleet.client("stop_workload", host="h1", name="vm 7")
    assert actions(host.run(wish(), reuse=True)) == [("unchanged", None)]


def test_what_was_taken_may_be_held_by_its_own_workload(host: Host) -> None:
    host.run(wish(workload=uuid(777)), reuse=True)
    host.hold(IDLE)
    assert actions(host.run(wish(workload=uuid(777)), reuse=True)) == [("unchanged", None)]


def test_what_is_held_at_the_last_look_is_not_taken(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _maker.Maker._make

    def make(self: _maker.Maker, job: t.Any) -> None:
        real(self, job)
        host.hold(job.uuid)

    monkeypatch.setattr(_maker.Maker, "_make", make)
    report = host.run(wish(), reuse=True)
    assert (verdicts(report), report.ledger) == ([("vm1", False, "in_use")], [])


def test_nothing_is_taken_while_holders_cannot_be_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workloads, "processes", lambda _root, _guard: ([], False))
    assert actions(host.run(wish(), reuse=True)) == [("created", None)]


def test_free_instance_is_taken_and_given_back(host: Host) -> None:
    report = host.run(wish(accepts=ACCEPTED), reuse=True)
    assert actions(report) == [("reused", None)]
    assert report.workloads[0]["instances"][0]["uuid"] == IDLE
    assert [(entry["uuid"], entry["reused"]) for entry in report.ledger] == [(IDLE, True)]
    again = host.run(wish(accepts=ACCEPTED), reuse=True)
    assert (again.changed, actions(again)) == (False, [("unchanged", None)])
    assert again.workloads[0]["instances"][0]["uuid"] == IDLE
    back = host.absent()
    assert (back.changed, actions(back), back.ledger) == (True, [("given_back", None)], [])
    assert host.there() == set()
    assert host.writes(f"devices/{IDLE}/remove") == 0


def test_what_was_taken_stays_with_its_workload_in_a_new_plan(host: Host) -> None:
    host.run(wish(), reuse=True)
    report = host.run(wish(), reuse=True, plan="p2")
    assert (report.changed, actions(report)) == (True, [("unchanged", None)])
    assert [(entry["uuid"], entry["plan"]) for entry in report.ledger] == [(IDLE, "p2")]


def test_what_is_taken_is_not_taken_twice(host: Host) -> None:
    host.run(wish(1), reuse=True)
    report = host.run(wish(2, "vm2"), wish(3, "vm3"), reuse=True)
    assert actions(report) == [("created", None)] * 2


@pytest.mark.parametrize(
    "changes",
    [{"type": TWO}, {"parent": OTHER}, {"accepts": "other"}, {"attributes": [{"name": "first", "value": "1"}]}],
)
def test_only_what_fits_is_taken(host: Host, changes: dict[str, t.Any]) -> None:
    report = host.run(wish(**changes), reuse=True)
    assert "reused" not in [action for action, _reason in actions(report)]


def test_what_was_taken_is_given_back_if_the_workload_fails(host: Host) -> None:
    host.fault(CREATE, fault="C1")
    report = host.run(wish(1), wish(2), reuse=True)
    assert (actions(report), report.ledger) == ([("given_back", None), ("refused", "errno")], [])
    assert not report.changed


# --------------------------------------------------------------------------------------------------------------- reboot


@pytest.mark.fault("C13", "C19")
def test_after_a_reboot_the_ledger_claims_nothing_that_others_made(fresh: Host) -> None:
    fresh.run(wish(1), wish(2))
    fresh.fleet.client("reboot", host="h1")
    fresh.make_by_hand(uuid(1))
    report = fresh.absent()
    assert (actions(report), report.ledger) == ([("none", "foreign"), ("none", None)], [])
    assert device_dir(fresh.fleet, uuid(1), host="h1").exists()


@pytest.mark.fault("C13")
def test_after_a_reboot_what_was_lost_is_made_again(fresh: Host) -> None:
    fresh.run(wish(1))
    fresh.fleet.client("reboot", host="h1")
    assert actions(fresh.run(wish(1))) == [("created", None)]
