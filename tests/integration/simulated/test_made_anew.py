# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands there, and is wanted otherwise now: other attributes, or another parent or type than what was taken."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _mdevs
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import device_dir
from ansible_collections.vfio.migration.tests.integration.simulated.test_definitions import Kept, kept
from ansible_collections.vfio.migration.tests.integration.simulated.test_instances import (
    CARD,
    CREATE,
    IDLE,
    ONE,
    OTHER,
    TWO,
    Host,
    actions,
    fresh,
    gone,
    host,
    running,
    states,
    uuid,
    verdicts,
    wish,
)

__all__ = ["fresh", "host", "kept", "running"]

SEVEN, EIGHT = ([{"name": "first", "value": value}] for value in "78")
BOTH = [{"name": "first", "value": "7"}, {"name": "second", "value": "8"}]
LISTS = [
    pytest.param(SEVEN, EIGHT, id="another value"),
    pytest.param(SEVEN, None, id="none any more"),
    pytest.param(None, SEVEN, id="some now"),
    pytest.param(SEVEN, BOTH, id="one more"),
    pytest.param(BOTH, BOTH[::-1], id="another order"),
]


def first(host: Host, number: int = 1) -> str:
    return (device_dir(host.fleet, uuid(number), host="h1") / "first").read_text().strip()


def removes(host: Host) -> int:
    return host.writes(f"devices/{uuid(1)}/remove")


# ----------------------------------------------------------------------------------------------------------- attributes


def test_the_same_attributes_are_left_alone(host: Host) -> None:
    host.run(wish(attributes=BOTH))
    again = host.run(wish(attributes=BOTH))
    assert (again.changed, actions(again), host.writes(CREATE)) == (False, [("unchanged", None)], 1)
    assert [entry["attributes"] for entry in again.ledger] == [BOTH]


@pytest.mark.parametrize(("before", "after"), LISTS)
def test_other_attributes_make_it_anew(host: Host, before: t.Any, after: t.Any) -> None:
    host.run(wish(attributes=before))
    planned = host.run(wish(attributes=after), check_mode=True)
    assert host.writes(CREATE) == 1
    report = host.run(wish(attributes=after))
    assert (report.changed, actions(report), host.writes(CREATE)) == (True, [("replaced", None)], 2)
    assert (planned.changed, actions(planned), planned.before, planned.after) == (
        *(report.changed, actions(report), report.before, report.after),
    )
    assert [[place["attributes"] for place in side] for side in (report.before, report.after)] == [
        [before or []],
        [after or []],
    ]
    assert (states(report), report.ledger[0]["attributes"]) == ({uuid(1): "created"}, after or [])
    wanted = {one["name"]: one["value"] for one in after or ()}
    assert first(host) == wanted.get("first", "0")
    assert not host.run(wish(attributes=after)).changed


@pytest.mark.fault("C11")
@pytest.mark.parametrize("check_mode", [True, False])
def test_one_in_use_is_not_made_anew_and_its_holder_is_named(host: Host, check_mode: bool) -> None:
    host.run(wish(attributes=SEVEN))
    host.hold(uuid(1))
    report = host.run(wish(attributes=EIGHT), check_mode=check_mode)
    assert (report.changed, actions(report)) == (False, [("refused", "in_use")])
    said = report.workloads[0]["msg"] or ""
    assert "is wanted with other attributes than it has (first=7), and cannot be made anew" in said
    assert f"is held by /usr/bin/qemu-system-x86_64 (process 2002, {uuid(777)}); to free it, end that first" in said
    assert [one["workload"] for one in report.workloads[0]["instances"][0]["holders"]] == [uuid(777)]
    assert (removes(host), first(host), report.ledger[0]["attributes"]) == (0, "7", SEVEN)


@pytest.mark.fault("C11")
def test_one_that_is_held_at_the_last_moment_stays_as_it_was(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(wish(attributes=SEVEN))
    real = _mdevs.Mdevs.check_free

    def check(self: _mdevs.Mdevs, found: t.Any, users: t.Any = None) -> None:
        if users is None:
            host.hold(uuid(1))
        real(self, found, users)

    monkeypatch.setattr(_mdevs.Mdevs, "check_free", check)
    report = host.run(wish(attributes=EIGHT))
    monkeypatch.undo()
    assert (actions(report), states(report), removes(host)) == ([("refused", "in_use")], {uuid(1): "created"}, 0)
    assert (first(host), report.ledger[0]["attributes"]) == ("7", SEVEN)


@pytest.mark.fault("C2", "C19")
@pytest.mark.parametrize("reuse", [True, False])
def test_foreign_one_is_refused_and_what_to_do_is_said(host: Host, reuse: bool) -> None:
    host.make_by_hand(uuid(1))
    report = host.run(wish(attributes=SEVEN), reuse=reuse)
    assert actions(report) == [("refused", "conflict")]
    said = report.workloads[0]["msg"] or ""
    assert said.endswith("is not ours, so its attributes cannot be vouched for; remove it or plan again")
    assert (report.ledger, removes(host)) == ([], 0)


@pytest.mark.fault("C19")
def test_one_that_was_taken_is_not_ours_to_make_anew(host: Host) -> None:
    host.run(wish(), reuse=True)
    report = host.run(wish(uuid=IDLE, attributes=SEVEN), reuse=True)
    assert actions(report) == [("refused", "conflict")]
    assert host.writes(f"devices/{IDLE}/remove") == 0


def test_a_workload_that_fails_loses_no_other_that_was_not_touched_yet(host: Host) -> None:
    host.run(wish(1, attributes=SEVEN), wish(2))
    host.remove_by_hand(uuid(2))
    host.fault(CREATE, fault="C1")
    report = host.run(wish(2), wish(1, attributes=EIGHT))
    assert actions(report) == [("refused", "errno"), ("none", None)]
    assert (host.there(), first(host), states(report)) == ({uuid(1)}, "7", {uuid(1): "created"})


@pytest.mark.parametrize(
    ("node", "action"), [(CREATE, ("refused", "errno")), (f"devices/{uuid(1)}/first", ("rolled_back", "attribute"))]
)
def test_one_that_cannot_be_made_again_leaves_nothing_half_done_and_is_told(
    host: Host, node: str, action: tuple[str, str]
) -> None:
    host.run(wish(attributes=SEVEN))
    host.fault(node, kind="errno", op="write", errno="EIO")
    report = host.run(wish(attributes=EIGHT))
    assert (report.changed, actions(report)) == (True, [action])
    assert (host.there(), report.ledger) == (set(), [])
    assert [place["attributes"] for place in report.before] == [SEVEN]
    assert report.after == []
    assert "was taken away to be made anew, and is gone" in (report.workloads[0]["msg"] or "")


@pytest.mark.parametrize("attributes", [None, SEVEN])
def test_an_older_ledger_does_not_say_what_was_written(host: Host, attributes: t.Any) -> None:
    """Not known is not the same: it is made anew, if nobody holds it."""
    host.run(wish(attributes=SEVEN))
    path = host.ledger / "ledger.json"
    ledger = json.loads(path.read_text())
    for entry in ledger["entries"]:
        del entry["attributes"], entry["wished"]
    path.write_text(json.dumps(ledger))
    assert actions(host.run(wish(attributes=attributes))) == [("replaced", None)]
    assert not host.run(wish(attributes=attributes)).changed
    assert actions(host.absent()) == [("removed", None)]


@pytest.mark.fault("C9")
def test_one_that_was_begun_with_other_attributes_is_begun_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _mdevs.Mdevs.configure

    def configure(self: _mdevs.Mdevs, found: t.Any, wanted: t.Any) -> None:
        real(self, found, wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(_mdevs.Mdevs, "configure", configure)
    with pytest.raises(KeyboardInterrupt):
        host.run(wish(attributes=BOTH))
    monkeypatch.undo()
    assert actions(host.run(wish(attributes=EIGHT))) == [("created", None)]
    second = device_dir(host.fleet, uuid(1), host="h1") / "second"
    assert (first(host), second.read_text(), host.writes(CREATE)) == ("8", "0\n", 2)


# ---------------------------------------------------------------------------------------- definitions that come with it


@pytest.mark.fault("C13")
@pytest.mark.parametrize("there", [True, False])
def test_our_definition_is_made_anew_with_it(host: Host, kept: Kept, there: bool) -> None:
    host.run(wish(attributes=SEVEN), persist=True)
    if not there:
        host.remove_by_hand(uuid(1))
    report = host.run(wish(attributes=EIGHT), persist=True)
    assert actions(report) == [("replaced" if there else "created", None)]
    assert kept.get(uuid(1))["attrs"] == [{"first": "8"}]
    assert [(entry["persist"], entry["attributes"]) for entry in report.ledger] == [(True, EIGHT)]
    assert not host.run(wish(attributes=EIGHT), persist=True).changed
    assert (actions(host.absent()), kept.names()) == ([("removed", None)], [])


@pytest.mark.fault("C13", "C19")
def test_our_definition_that_somebody_changed_is_theirs(host: Host, kept: Kept) -> None:
    host.run(wish(attributes=SEVEN), persist=True)
    kept.put(uuid(1), attrs=[{"first": "9"}])
    report = host.run(wish(attributes=EIGHT), persist=True)
    assert (actions(report), first(host), removes(host)) == ([("refused", "defined_differently")], "7", 0)


@pytest.mark.fault("C13")
@pytest.mark.parametrize("changes", [{"parent": OTHER}, {"type": TWO}])
def test_our_definition_of_another_place_goes_with_what_is_gone(
    host: Host, kept: Kept, changes: dict[str, t.Any]
) -> None:
    host.run(wish(), persist=True)
    host.remove_by_hand(uuid(1))
    report = host.run(wish(**changes), persist=True)
    assert actions(report) == [("created", None)]
    assert kept.names() == [f"{uuid(1)}.{changes.get('parent', CARD)}.json"]
    assert kept.get(uuid(1), changes.get("parent", CARD))["mdev_type"] == changes.get("type", ONE)


@pytest.mark.fault("C13", "C3")
@pytest.mark.parametrize("other", ["0000:00:01.0", OTHER])
def test_the_same_uuid_defined_on_two_parents_is_a_conflict(host: Host, kept: Kept, other: str) -> None:
    """Whichever mdevctl lists last: after a reboot both would come back."""
    kept.put(uuid(1))
    kept.put(uuid(1), other)
    report = host.run(wish(), persist=True)
    assert actions(report) == [("refused", "conflict")]
    assert f"mdevctl has it defined as {ONE} on {other}; undefine that first" in (report.workloads[0]["msg"] or "")
    assert host.there() == set()


# ------------------------------------------------------------------------------------------------ what was taken before


@pytest.mark.parametrize("changes", [{"parent": OTHER}, {"type": TWO}, {"attributes": SEVEN}])
def test_what_was_taken_is_given_back_when_a_new_plan_wants_something_else(
    host: Host, changes: dict[str, t.Any]
) -> None:
    host.run(wish(), reuse=True)
    planned = host.run(wish(**changes), reuse=True, plan="p2", check_mode=True)
    report = host.run(wish(**changes), reuse=True, plan="p2")
    assert (report.changed, actions(report)) == (True, [("created", None)])
    assert (planned.changed, planned.before, planned.after) == (report.changed, report.before, report.after)
    assert [(place["uuid"], place["owner"]) for place in report.before] == [(IDLE, "p1: vm1")]
    assert [(place["uuid"], place["owner"]) for place in report.after] == [(IDLE, None), (uuid(1), "p2: vm1")]
    assert [(entry["uuid"], entry["reused"]) for entry in report.ledger] == [(uuid(1), False)]
    assert not host.run(wish(**changes), reuse=True, plan="p2").changed


def test_what_was_taken_is_found_by_the_uuid_that_was_asked_for(host: Host) -> None:
    host.run(wish(), reuse=True)
    planned = host.absent(gone(), check_mode=True)
    assert (planned.changed, actions(planned)) == (True, [("given_back", None)])
    back = host.absent(gone())
    assert (back.changed, actions(back), back.ledger) == (True, [("given_back", None)], [])
    assert (back.workloads[0]["workload"], back.workloads[0]["instances"][0]["uuid"]) == ("vm1", IDLE)
    assert host.writes(f"devices/{IDLE}/remove") == 0


def test_what_was_taken_for_another_workload_stays_with_it(host: Host) -> None:
    host.run(wish(), reuse=True)
    report = host.run(wish(workload="vm2"), reuse=True)
    assert actions(report) == [("refused", "other_owner")]
    assert [(entry["uuid"], entry["workload"]) for entry in report.ledger] == [(IDLE, "vm1")]


def test_what_was_taken_and_is_gone_is_made(host: Host) -> None:
    host.make_by_hand(uuid(9), parent=OTHER)
    host.run(wish(parent=OTHER), reuse=True)
    host.remove_by_hand(uuid(9))
    report = host.run(wish(parent=OTHER), reuse=True)
    assert (actions(report), list(states(report))) == ([("created", None)], [uuid(1)])


def test_two_that_were_taken_stay_with_what_asked_for_them(host: Host) -> None:
    host.make_by_hand(uuid(9))
    host.run(wish(1), wish(2), reuse=True)
    taken = {entry["wished"]: entry["uuid"] for entry in host.run(wish(2), wish(1), reuse=True).ledger}
    assert taken == {uuid(1): uuid(9), uuid(2): IDLE}
    new = host.run(wish(3), wish(1), reuse=True, plan="p2")
    assert (new.changed, actions(new)) == (True, [("unchanged", None)] * 2)
    assert {entry["wished"]: entry["uuid"] for entry in new.ledger} == {uuid(3): IDLE, uuid(1): uuid(9)}


@pytest.mark.fault("C13", "C19")
def test_after_a_reboot_what_was_taken_is_nobodys(fresh: Host) -> None:
    """Somebody makes it anew: nothing that names only what was asked for may touch it."""
    fresh.run(wish(), reuse=True)
    fresh.fleet.client("reboot", host="h1")
    fresh.make_by_hand(IDLE)
    assert actions(fresh.absent(gone(), force_foreign=True)) == [("none", None)]
    report = fresh.run(wish(workload="vm2"))
    assert (verdicts(report), list(states(report))) == ([("vm2", True, None)], [uuid(1)])
    assert device_dir(fresh.fleet, IDLE, host="h1").exists()


@pytest.mark.fault("C19")
@pytest.mark.parametrize("persist", [True, False])
def test_what_is_taken_instead_of_what_is_gone_is_not_removed(host: Host, kept: Kept, persist: bool) -> None:
    host.run(wish(attributes=SEVEN), persist=persist)
    host.remove_by_hand(uuid(1))
    report = host.run(wish(), reuse=True)
    assert (actions(report), list(states(report)), kept.names()) == ([("reused", None)], [IDLE], [])
    assert host.writes(f"devices/{IDLE}/remove") == 0
    assert not host.run(wish(), reuse=True).changed


@pytest.mark.fault("C2", "C13")
@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("ours", [True, False])
def test_what_mdevctl_starts_at_the_same_moment_is_ours_if_we_defined_it(host: Host, ours: bool) -> None:
    host.run(wish(), persist=ours)
    host.remove_by_hand(uuid(1))
    host.fault(CREATE, fault="C6", errno="EEXIST")
    report = host.run(wish(), persist=ours)
    assert actions(report) == ([("created", None)] if ours else [("refused", "conflict")])
    assert list(states(report)) == ([uuid(1)] if ours else [])
