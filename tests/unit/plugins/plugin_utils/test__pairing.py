# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of fleets made by hand, case by case."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _pairing, _readiness
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.fleet_data import (
    DAY,
    HOUR_AGO,
    NOW,
    Facts,
    device,
    host,
    mdev_type,
    parent,
    verdict,
    workload,
)

T1 = ("p1", "t1")
NODE = ("p1", "t1", None)
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
VF = "0000:3b:00.4"


def offers(string: str | None, *more: t.Any, verdicts: t.Any = (), **about: t.Any) -> Facts:
    """A host with one parent p1 and one type t1."""
    return host(parent("p1", mdev_type("t1", string), **about), *more, verdicts=verdicts)


def pair(facts: t.Mapping[str, t.Any], source: str, target: str, **options: t.Any) -> _model.Pairing | None:
    """The pairing of two members, each ``host``, ``host/parent/type`` or ``host/device``; None when not listed."""
    matrix = pairings(facts, DAY, NOW, **options)
    [asking] = {one["id"] for one in matrix["sources"] for each in one["members"] if source in _names(one, each)}
    [asked] = {one["id"] for one in matrix["targets"] for each in one["members"] if target in _names(one, each)}
    found = [one for one in matrix["pairings"] if (one["source"], one["target"]) == (asking, asked)]
    return found[0] if found else None


def _names(one: t.Any, member: t.Any) -> set[str]:
    if member["device"]:
        return {f"{member['host']}/{member['device']}"}
    return {f"{member['host']}/{member['parent']}/{one['type']}"}


class Case(t.NamedTuple):
    """A device of h1, at home on p1/t1, and the type p1/t1 of h2."""

    home: str | None = "a"
    """What the type node of h1 produces."""
    own: str | None = None
    """What the device itself produces."""
    there: str | None = "b"
    """What the type node of h2 produces."""
    said: t.Sequence[t.Any] = ()
    """What drivers of h2 said."""
    said_at_home: t.Sequence[t.Any] = ()
    other: t.Sequence[t.Any] = ()
    """More devices of h2."""
    expected: tuple[str, str | None, str | None, str] = ("unknown", "not_asked", None, "unknown")
    """Verdict, reason, scope, way back."""
    warnings: t.Sequence[str] = ()
    state: t.Literal["ok", "gone", "hung", "unknown"] = "ok"


YES, NO = verdict(NODE, "a"), verdict(NODE, "a", "no")
BACK, NO_BACK = verdict(NODE, "b"), verdict(NODE, "b", "no")
THERE = device("u2", "d2", T1)
SECOND = device("u3", "d3", T1)


def dev(string: str, answer: str, name: str = "u2", **more: t.Any) -> dict[str, t.Any]:
    return verdict(("p1", "t1", name), string, answer, **more)


COMPATIBLE = ("compatible", None, "type", "unknown")
REFUSED = ("incompatible", "errno", "type", "unknown")
CASES = {
    "not asked": Case(),
    "yes": Case(said=[YES], expected=COMPATIBLE),
    "no": Case(said=[NO], expected=REFUSED),
    "equal strings are no proof": Case(there="a", said=[NO], expected=REFUSED),
    "directed": Case(said=[YES], said_at_home=[BACK], expected=("compatible", None, "type", "compatible")),
    "no way back": Case(
        said=[YES],
        said_at_home=[NO_BACK],
        expected=("compatible", None, "type", "incompatible"),
        warnings=["no_way_back"],
    ),
    "a way back from where it cannot go": Case(
        said=[NO], said_at_home=[BACK], expected=("incompatible", "errno", "type", "compatible")
    ),
    "busy": Case(said=[verdict(NODE, "a", "?busy")], expected=("unknown", "busy", "type", "unknown")),
    "rebooted": Case(
        said=[verdict(NODE, "a", driven=("boot-0", "drv", "1.0"))],
        expected=("unknown", "expired", "type", "unknown"),
        warnings=["expired"],
    ),
    "another driver version": Case(
        said=[verdict(NODE, "a", driven=("boot-1", "drv", "0.9"))],
        expected=("unknown", "expired", "type", "unknown"),
        warnings=["expired"],
    ),
    "from the future": Case(
        said=[verdict(NODE, "a", time="2026-11-22T12:05:01Z")],
        expected=("unknown", "expired", "type", "unknown"),
        warnings=["expired"],
    ),
    "of an unknown boot": Case(
        said=[verdict(NODE, "a", driven=(None, "drv", "1.0"))],
        expected=("unknown", "expired", "type", "unknown"),
        warnings=["expired"],
    ),
    "too old": Case(
        said=[verdict(NODE, "a", time="2026-11-21T11:59:59Z")],
        expected=("unknown", "expired", "type", "unknown"),
        warnings=["expired"],
    ),
    "a yes to another type does not count": Case(said=[verdict(NODE, "a", source_type="t2")]),
    "a yes to another vendor does not count": Case(said=[verdict(NODE, "a", vendor="pci:10de")]),
    "source without attribute": Case(home=None, expected=("unknown", "source_absent", None, "unknown")),
    "source present but ENODEV": Case(
        home="!ENODEV", expected=("incompatible", "source_unsupported", None, "incompatible")
    ),
    "source device present but ENODEV": Case(
        own="!ENODEV", said=[YES], expected=("incompatible", "source_unsupported", None, "unknown")
    ),
    "source truncated": Case(home="~truncated", expected=("unknown", "source_truncated", None, "unknown")),
    "source unreadable": Case(home="?permission", expected=("unknown", "source_permission", None, "unknown")),
    "target without attribute": Case(there=None, said=[YES], expected=("unknown", "target_absent", None, "unknown")),
    "target present but ENODEV": Case(
        there="!ENODEV", said=[YES], expected=("incompatible", "errno", None, "incompatible")
    ),
    "target hangs": Case(said=[YES], state="hung", expected=("unknown", "hung", None, "unknown")),
    "target could not be listed": Case(
        said=[YES], state="unknown", expected=("unknown", "unknown", None, "unknown")
    ),
    "target is gone": Case(said=[YES], state="gone", expected=("unknown", "gone", None, "unknown")),
    "type node yes, device node no": Case(
        own="d1",
        said=[YES, dev("d1", "no")],
        other=[THERE],
        expected=("incompatible", "errno", "device", "unknown"),
        warnings=["inconsistent"],
    ),
    "type node no, device node yes": Case(
        own="d1",
        said=[NO, dev("d1", "yes")],
        other=[THERE],
        expected=("compatible", None, "device", "unknown"),
        warnings=["inconsistent"],
    ),
    "device node alone": Case(
        home=None,
        own="d1",
        there=None,
        said=[dev("d1", "yes")],
        other=[THERE],
        expected=("compatible", None, "device", "unknown"),
    ),
    "device nodes disagree": Case(
        own="d1",
        said=[YES, dev("d1", "yes"), dev("d1", "no", "u3")],
        other=[THERE, SECOND],
        expected=("incompatible", "errno", "device", "unknown"),
        warnings=["inconsistent"],
    ),
    "a busy device node says nothing": Case(
        own="d1", said=[YES, dev("d1", "?busy")], other=[THERE], expected=COMPATIBLE
    ),
    "a device node said something, long ago": Case(
        own="d1",
        said=[YES, dev("d1", "yes", time="2026-11-20T00:00:00Z")],
        other=[THERE],
        expected=("unknown", "expired", "device", "unknown"),
        warnings=["expired"],
    ),
    "the type says ENODEV, the device does not": Case(
        home="!ENODEV", own="d1", expected=("unknown", "source_errno", None, "incompatible")
    ),
    "the type says ENODEV, the device is accepted": Case(
        home="!ENODEV",
        own="d1",
        said=[dev("d1", "yes")],
        other=[THERE],
        expected=("compatible", None, "device", "incompatible"),
        warnings=["no_way_back"],
    ),
    "the type says ENODEV, the device is refused": Case(
        home="!ENODEV",
        own="d1",
        said=[dev("d1", "no")],
        other=[THERE],
        expected=("incompatible", "errno", "device", "incompatible"),
    ),
    "both types say ENODEV, the device does not": Case(
        home="!ENODEV", own="d1", there="!ENODEV", expected=("incompatible", "errno", None, "incompatible")
    ),
    "another string there": Case(own="d1", said=[YES, dev("d9", "no")], other=[THERE], expected=COMPATIBLE),
    "a device node of the past": Case(own="d1", said=[YES, dev("d1", "no", "u9")], other=[THERE], expected=COMPATIBLE),
}  # fmt: skip


@pytest.mark.fault("P7", "P8", "P9", "P11", "P13", "R2", "R3", "R8", "R9", "R14")
@pytest.mark.parametrize("name", CASES)
def test_a_device_and_a_type(name: str) -> None:
    case = CASES[name]
    facts = {
        "h1": offers(case.home, device("u1", case.own, T1, in_use=True), verdicts=case.said_at_home),
        "h2": offers(case.there, *case.other, verdicts=case.said, state=case.state),
    }
    found = pair(facts, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert (found["verdict"], found["reason"], found["scope"], found["way_back"]) == case.expected
    assert found["warnings"] == list(case.warnings)


def test_a_driver_s_errno_and_the_time_of_its_answer_are_kept() -> None:
    facts = {"h1": offers("a", device("u1", None, T1)), "h2": offers("b", verdicts=[NO])}
    found = pair(facts, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert (found["errno"], found["asked"]) == ("EINVAL", HOUR_AGO)


@pytest.mark.fault("P11", "P13")
@pytest.mark.parametrize(
    "there",
    [
        offers("a", vendor="pci:10de", verdicts=[YES, verdict(NODE, "a", vendor="pci:10de")]),
        host(parent("p1", mdev_type("t2", "a")), verdicts=[verdict(("p1", "t2", None), "a", source_type="t1")]),
    ],
    ids=["another vendor", "another type"],
)
def test_no_hand_made_yes_makes_a_pair_across_vendors_or_types(there: Facts) -> None:
    facts = {"h1": offers("a", device("u1", "a", T1)), "h2": there}
    [target] = [one["id"] for one in pairings(facts, DAY, NOW)["targets"] if one["members"][0]["host"] == "h2"]
    assert [one for one in pairings(facts, DAY, NOW)["pairings"] if one["target"] == target] == []


@pytest.mark.fault("P8")
@pytest.mark.parametrize("answers", [("yes", "no"), ("no", "yes")])
@pytest.mark.parametrize("by_type", ["yes", "no"])
def test_of_two_devices_that_disagree_the_stricter_one_counts(answers: tuple[str, str], by_type: str) -> None:
    there = [dev("d1", answer, name) for name, answer in zip(("u2", "u3"), answers, strict=True)]
    facts = {
        "h1": offers("a", device("u1", "d1", T1)),
        "h2": offers("b", THERE, SECOND, verdicts=[verdict(NODE, "a", by_type), *there]),
    }
    found = pair(facts, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert (found["verdict"], found["scope"]) == ("incompatible", "device")
    assert found["warnings"] == (["inconsistent"] if by_type == "yes" else [])


EARLY, LATE = "2026-11-22T10:00:00Z", "2026-11-22T10:30:00Z"


@pytest.mark.parametrize("times", [(EARLY, LATE), (LATE, EARLY)])
@pytest.mark.parametrize("scope", ["type", "device"])
@pytest.mark.parametrize("apart", ["hosts", "devices"])
def test_the_oldest_answer_behind_a_pair_dates_it(times: tuple[str, str], scope: str, apart: str) -> None:
    first, second = times
    if apart == "hosts":
        there = {
            name: offers("b", device(name, "d2", T1), verdicts=[
                verdict(NODE, "a", time=time), *([dev("d1", "yes", name, time=time)] if scope == "device" else [])])
            for name, time in (("h2", first), ("h3", second))
        }  # fmt: skip
    else:
        said = [verdict(NODE, "a", time=EARLY)]
        if scope == "device":
            said += [dev("d1", "yes", time=first), dev("d1", "yes", "u3", time=second)]
        there = {"h2": offers("b", THERE, SECOND, verdicts=said)}
    found = pair({"h1": offers("a", device("u1", "d1", T1)), **there}, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert (found["verdict"], found["scope"], found["asked"]) == ("compatible", scope, EARLY)


LONG_AGO = "2026-11-20T00:00:00Z"


@pytest.mark.fault("P7")
def test_a_device_that_is_not_asked_any_more_does_not_overrule_the_one_that_speaks_for_it() -> None:
    """It was asked while it was free; in use it is asked no more, so its old answer can not be renewed."""
    taken = device("u2", "d2", T1, in_use=True)
    said = [YES, dev("d1", "yes", time=LONG_AGO), dev("d1", "yes", "u3")]
    facts = {"h1": offers("a", device("u1", "d1", T1)), "h2": offers("b", taken, SECOND, verdicts=said)}
    found = pair(facts, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert (found["verdict"], found["scope"], found["warnings"]) == ("compatible", "device", [])
    gone_quiet = pair(facts, "h1/u1", "h2/u2")
    assert gone_quiet is not None
    assert (gone_quiet["reason"], gone_quiet["asked"]) == ("in_use", None)
    assert "expired" not in {finding["kind"] for finding in pairings(facts, DAY, NOW)["findings"]}


@pytest.mark.fault("P7")
def test_while_it_holds_its_answer_counts_whether_it_is_asked_or_not() -> None:
    taken = device("u2", "d2", T1, in_use=True)
    said = [YES, dev("d1", "no"), dev("d1", "yes", "u3")]
    facts = {"h1": offers("a", device("u1", "d1", T1)), "h2": offers("b", taken, SECOND, verdicts=said)}
    found = pair(facts, "h1/u1", "h2/p1/t1")
    assert found is not None
    assert found["verdict"] == "incompatible"


def test_a_string_that_only_its_own_host_produces_does_not_expire_there() -> None:
    own = [verdict(NODE, "a", time=LONG_AGO)]
    facts = {"h1": offers("a", device("u1", None, T1), verdicts=own), "h2": offers("b")}
    found = pair(facts, "h1/u1", "h1/p1/t1")
    assert found is not None
    assert (found["reason"], found["asked"]) == ("not_asked", None)


UNREAD = offers("b", device("u2", "d2", T1, vendor=None), device(VF, "d2", vendor=None), vendor=None)


@pytest.mark.fault("R5", "R14")
def test_a_vendor_that_could_not_be_read_rules_nothing_out_and_in() -> None:
    facts = {"h1": offers("a", device("u1", "d1", T1), verdicts=[YES, dev("d2", "yes", "u1")]), "h2": UNREAD}
    for source, target in (
        ("h1/u1", "h2/p1/t1"),
        ("h1/u1", "h2/u2"),
        ("h1/u1", f"h2/{VF}"),
        ("h2/u2", "h1/p1/t1"),
        ("h2/u2", "h1/u1"),
        (f"h2/{VF}", "h1/u1"),
        ("h2/u2", "h2/p1/t1"),
    ):
        found = pair(facts, source, target)
        assert found is not None, (source, target)
        assert (found["verdict"], found["reason"], found["scope"]) == ("unknown", "vendor_unknown", None)
        assert (found["way_back"], found["warnings"]) == ("unknown", [])
    assert pair(facts, f"h2/{VF}", "h1/p1/t1") is None
    matrix = pairings(facts, DAY, NOW)
    assert matrix["partial"]
    assert [(one["kind"], one["hosts"]) for one in matrix["findings"]] == [("incomplete", ["h2"])]
    assert {one["vendor"] for one in matrix["sources"]} == {"pci:8086", ""}
    assert _contracts.check(_model.Pairings, json.loads(json.dumps(matrix)), "pairings") == []


@pytest.mark.fault("R18", "R8")
@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("?incomplete", ("unknown", "source_incomplete")),
        ("?hung", ("unknown", "source_hung")),
        (None, ("unknown", "source_absent")),
        ("!ENODEV", ("incompatible", "source_unsupported")),
    ],
)
def test_an_mdev_that_does_not_say_its_type_is_paired_with_every_type(
    string: str | None, expected: tuple[str, str]
) -> None:
    facts = {
        "h1": offers("a", device("u1", string, ("p1", None))),
        "h2": host(
            parent("p1", mdev_type("t1", "a"), mdev_type("t2", "b")), parent("p2", mdev_type("t1", "a"), vendor="pci:1")
        ),
    }
    for target in ("h2/p1/t1", "h2/p1/t2"):
        found = pair(facts, "h1/u1", target)
        assert found is not None
        assert (found["verdict"], found["reason"], found["way_back"]) == (*expected, "unknown")
    assert pair(facts, "h1/u1", "h2/p2/t1") is None
    [source] = pairings(facts, DAY, NOW)["sources"]
    assert (source["type"], source["type_version"]) == (None, None)


def note(item: str, reason: str) -> _model.Note:
    return {"item": item, "reason": reason, "detail": "It says why."}


LOST: dict[str, tuple[Facts, bool]] = {
    "hung before its types were listed": (host(parent("p1", state="hung")), True),
    "hung, its types are known": (host(parent("p1", mdev_type("t1", "?hung"), state="hung")), False),
    "types could not be listed": (host(parent("p1", state="unknown")), True),
    "vendor could not be read": (host(parent("p1", vendor=None, state="unknown")), True),
    "vendor of a physical device could not be read": (host(device(VF, None, vendor=None)), True),
    "devices could not be listed": (host(notes=[note("class/vfio-dev", "permission")]), True),
    "device could not be looked at": (host(notes=[note(f"bus/pci/drivers/vfio-pci/{VF}", "deadline")]), True),
    "device vanished": (host(notes=[note("class/vfio-dev/vfio0", "gone")]), False),
    "link to no device": (host(notes=[note("class/vfio-dev/vfio0", "no_device")]), False),
    "gone": (host(parent("p1", state="gone")), False),
    "no types": (host(parent("p1")), False),
    "nothing there": (host(), False),
}


@pytest.mark.fault("R8", "R14")
@pytest.mark.parametrize("name", LOST)
def test_a_host_that_could_not_tell_what_it_has_leaves_nothing_blocked(name: str) -> None:
    """Its types may be the very ones that would take the device."""
    there, lost = LOST[name]
    matrix = pairings({"h1": host(parent("p1"), device("u1", "d1", ("p1", "t9"))), "h2": there}, DAY, NOW)
    incomplete = [one["hosts"] for one in matrix["findings"] if one["kind"] == "incomplete"]
    assert (matrix["partial"], incomplete) == (lost, [["h2"]] if lost else [])
    standing = _readiness.standings(matrix)[0][0]
    assert standing["state"] == ("unknown" if lost else "blocked")


HYBRID = [
    ("mdev to physical and back", ["m yes"], ["p yes"], ("compatible", None, "device", "compatible"), []),
    ("no way back", ["m yes"], ["p no"], ("compatible", None, "device", "incompatible"), ["no_way_back"]),
    ("refused", ["m no"], [], ("incompatible", "errno", "device", "unknown"), []),
    ("not asked", [], ["p yes"], ("unknown", "not_asked", None, "compatible"), []),
]


@pytest.mark.fault("P8")
@pytest.mark.parametrize(("name", "at_physical", "at_mdev", "expected", "warnings"), HYBRID)
def test_hybrid_pairs_follow_the_device_nodes(
    name: str, at_physical: list[str], at_mdev: list[str], expected: tuple[t.Any, ...], warnings: list[str]
) -> None:
    facts = {
        "h1": offers("a", device("u1", "m", T1), verdicts=[dev(one[0], one[2:], "u1") for one in at_mdev]),
        "h2": host(device(VF, "p"), verdicts=[verdict((None, None, VF), one[0], one[2:]) for one in at_physical]),
    }
    found = pair(facts, "h1/u1", f"h2/{VF}")
    assert found is not None, name
    assert (found["verdict"], found["reason"], found["scope"], found["way_back"]) == expected
    assert found["warnings"] == warnings
    assert pair(facts, f"h2/{VF}", "h1/p1/t1") is None
    reverse = pair(facts, f"h2/{VF}", "h1/u1")
    assert reverse is not None
    assert (reverse["way_back"], reverse["verdict"]) == (found["verdict"], found["way_back"])


def test_a_device_in_use_that_another_one_speaks_for() -> None:
    facts = {
        "h1": offers("a", device("u1", "d", T1)),
        "h2": offers("a", device("u2", "d", T1, in_use=True), device("u3", "d", T1)),
    }
    found = pair(facts, "h1/u1", "h2/u2")
    assert found is not None
    assert (found["verdict"], found["reason"]) == ("unknown", "in_use")


@pytest.mark.fault("R21")
def test_identical_devices_and_targets_are_folded_with_members_listed_once() -> None:
    fleet = {f"h{number}": offers("a", device(f"u{number}", None, T1, in_use=None)) for number in range(9)}
    fleet["h9"] = host(
        parent("p1", mdev_type("t1", "a", 4)),
        parent("p2", mdev_type("t1", "b", None)),
        device("u9", None, T1, in_use=True),
        workload("vm-2", "u9"),
        workload("vm-1", "u9"),
        workload("vm-0", "u9", state="inactive"),
    )
    matrix = pairings(fleet, DAY, NOW)
    assert [(one["id"], len(one["members"])) for one in matrix["sources"]] == [("s1", 10)]
    by_class = [(one["id"], one["scope"], one["version"]["value"], len(one["members"])) for one in matrix["targets"]]
    assert by_class == [("t1", "type", "a", 10), ("t2", "device", None, 10), ("t3", "type", "b", 1)]
    assert matrix["sources"][0]["members"][-1] == {"host": "h9", "parent": "p1", "device": "u9", "workload": "vm-1"}
    rooms: dict[t.Any, int | None] = {
        (each["host"], each["parent"], each["device"]): each["room"]
        for one in matrix["targets"]
        for each in one["members"]
    }
    assert (rooms["h9", "p1", None], rooms["h9", "p2", None], rooms["h9", "p1", "u9"]) == (4, None, 0)
    assert rooms["h1", "p1", "u1"] is None
    assert _contracts.check(_model.Pairings, json.loads(json.dumps(matrix)), "pairings") == []


def test_sources_all_adds_what_could_be_made() -> None:
    facts = {"h1": offers("a"), "h2": offers("b", device("u1", "d", T1), verdicts=[YES])}
    assert len(pairings(facts, DAY, NOW)["sources"]) == 1
    found = pair(facts, "h1/p1/t1", "h2/p1/t1", sources="all")
    assert found is not None
    assert found["verdict"] == "compatible"
    to_device = pair(facts, "h1/p1/t1", "h2/u1", sources="all")
    assert to_device is not None
    assert (to_device["verdict"], to_device["reason"]) == ("unknown", "no_device")


BROKEN = {"vfio_migration": {"schema_version": 9}}
BAD_VERDICTS = {**offers("a"), "vfio_migration_verdicts": {"schema_version": 1, "verdicts": "none"}}


@pytest.mark.fault("L8")
def test_hosts_that_cannot_be_taken_into_account_are_named_and_the_rest_goes_on() -> None:
    facts = {
        "fresh": offers("a", device("u1", None, T1)),
        "cached": offers("a", verdicts=[YES]),
        "away": {},
        "null": None,
        "broken": BROKEN,
        "list": [1],
        "verdicts": BAD_VERDICTS,
    }
    matrix = pairings(facts, DAY, NOW, fresh_hosts=["fresh", "broken"])
    assert {one["host"]: one["state"] for one in matrix["hosts"]} == {
        "away": "unreachable",
        "broken": "excluded",
        "cached": "cached",
        "fresh": "fresh",
        "list": "excluded",
        "null": "unreachable",
        "verdicts": "excluded",
    }
    assert matrix["partial"]
    by_name = {one["host"]: one for one in matrix["hosts"]}
    assert (by_name["cached"]["time"], by_name["cached"]["age"]) == (HOUR_AGO, 3600)
    assert by_name["broken"]["errors"] == ["hosts.broken.schema_version must be 1, not 9: gather these facts again"]
    assert by_name["list"]["errors"] == ["hosts.list must be a mapping, not list"]
    assert by_name["verdicts"]["errors"][0] == "hosts.verdicts.vfio_migration_verdicts.host is missing"
    assert {each["host"] for one in matrix["targets"] for each in one["members"]} == {"fresh", "cached"}
    found = pair(facts, "fresh/u1", "cached/p1/t1")
    assert found is not None
    assert found["verdict"] == "compatible"
    findings = [(one["kind"], one["hosts"]) for one in matrix["findings"]]
    assert findings == [
        ("cached", ["cached"]),
        ("excluded", ["broken"]),
        ("excluded", ["list"]),
        ("excluded", ["verdicts"]),
        ("unreachable", ["away", "null"]),
    ]


OLD = verdict(NODE, "a", driven=("boot-0", "drv", "1.0"))
UPPER = UUID.upper()
FINDINGS: dict[str, tuple[dict[str, Facts], list[tuple[str, list[str], str]]]] = {
    "nothing to say": ({"h1": offers("a"), "h2": offers("a")}, []),
    "one UUID on two hosts": (
        {"h1": offers("a", device(UUID, None, T1)), "h2": offers("a", device(UPPER, None, T1)), "h3": offers("a")},
        [("uuid_clash", ["h1", "h2"], f"devices/{UUID}")],
    ),
    "one UUID twice on one host": (
        {"h1": offers("a", device(UUID, None, T1), device(UUID, None, T1))},
        [("uuid_clash", ["h1"], f"devices/{UUID}")],
    ),
    "bus addresses are no UUIDs": ({"h1": host(device(VF, None)), "h2": host(device(VF, None))}, []),
    "hung": ({"h1": offers("a", state="hung")}, [("hung", ["h1"], "parents/p1")]),
    "expired": (
        {"h1": offers("a"), "h2": offers("b", verdicts=[OLD]), "h3": offers("b", verdicts=[OLD])},
        [("expired", ["h2", "h3"], "host")],
    ),
    "not probed": (
        {"h1": offers("a"), "h2": offers("b", verdicts=[verdict(NODE, "a", "?not_probed") | {"errno": "EROFS"}])},
        [("not_probed", ["h2"], "errno/EROFS")],
    ),
    "no way back": (
        {"h1": offers("a", device("u1", None, T1), verdicts=[NO_BACK]), "h2": offers("b", verdicts=[YES])},
        [("no_way_back", ["h1"], "sources/s1")],
    ),
    "inconsistent": (
        {
            "h1": offers("a", device("u1", "d1", T1)),
            "h2": offers("b", THERE, verdicts=[YES, dev("d1", "no")]),
            "h3": offers("b", device("u4", "d2", T1), verdicts=[YES, dev("d1", "no", "u4")]),
        },
        [("inconsistent", ["h2", "h3"], "targets/t3")],
    ),
}


@pytest.mark.fault("P2", "P7", "P8", "P9", "R8", "C3")
@pytest.mark.parametrize("name", FINDINGS)
def test_findings(name: str) -> None:
    facts, expected = FINDINGS[name]
    findings = pairings(facts, DAY, NOW)["findings"]
    assert [(one["kind"], one["hosts"], one["item"]) for one in findings] == expected
    assert all(one["detail"].endswith(".") for one in findings)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sources": "some"}, "sources must be one of devices, all, not 'some'"),
        ({"fresh_hosts": "hv1"}, "fresh_hosts must be a list, not string"),
        ({"max_age": None}, "max_age must be an int, not null"),
        ({"max_age": -1}, "max_age must not be negative, not -1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, t.Any], error: str) -> None:
    with pytest.raises(_contracts.ContractError) as raised:
        pairings({}, **{"max_age": DAY, "now": NOW, **options})
    assert str(raised.value) == error


def test_times_and_ages_are_no_difference() -> None:
    facts = {"h1": offers("a", device("u1", None, T1)), "h2": offers("b", verdicts=[YES])}
    now, later = pairings(facts, DAY, NOW), pairings(facts, DAY, "2026-11-22T12:30:00Z")
    assert now != later
    assert _pairing.same_but_for_times(json.loads(json.dumps(now)), later)
    facts["h2"] = offers("b", verdicts=[NO])
    assert not _pairing.same_but_for_times(now, pairings(facts, DAY, NOW))
    assert not _pairing.same_but_for_times(None, now)


def test_the_input_is_left_alone_and_not_shared() -> None:
    facts = {"h1": offers("a", device("u1", None, T1)), "h2": offers("b", verdicts=[YES])}
    before = json.dumps(facts)
    for target in pairings(facts, DAY, NOW)["targets"]:
        target["version"]["value"] = "changed"
    assert json.dumps(facts) == before


PROGRAM = """
import json
from ansible_collections.vfio.migration.plugins.plugin_utils import _pairing, _requests
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import test__pairing as cases
for facts, _expected in cases.FINDINGS.values():
    print(json.dumps(_requests.probe_requests(facts, cases.DAY, cases.NOW)))
    print(json.dumps(_pairing.pairings(facts, cases.DAY, cases.NOW, "all")))
"""


def test_same_input_same_bytes_whatever_the_hash_seed() -> None:
    path = os.pathsep.join(filter(None, sys.path))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert b"inconsistent" in outputs.pop()
