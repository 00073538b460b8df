# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text for a person and the file for everything else."""

from __future__ import annotations

import copy
import json
import pathlib
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _files, _readiness, _reasons, _report
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import report_data as data

SMALL = """\
VFIO migration readiness, 2026-11-22T19:04:14Z, PARTIAL
       5 hosts:   2 fresh, 1 cached, 1 unreachable, 1 excluded (oldest: 2 h)
       4 devices: 2 ready, 1 compatible but no room, 1 unknown, 0 blocked
       3 VMs:     1 ready, 1 compatible but no room, 1 unknown, 0 blocked

Hosts not taken into account
  unreachable: hv4
  excluded: hv5: hosts.hv5.schema_version must be 1, not 7

Not ready, and why
  unknown, 1 device: no host that answered takes it, and some did not answer in full
    hv3 dev-c1 (VM vm-3)
  compatible but no room, 1 device: accepted elsewhere, but no host has room
    hv2 dev-b1 (VM db)

Who may move where (from row s to column t; the other direction is another question)
  mdev i915-GVTg_V5_4
                x      y
    a        yes*    own
    b           ?   full
    c          no      -
    a: 2 devices on hv1; says 8086-591d-GVTg_V5_4-00000001
    b: 1 device on hv2; says 8086-591d-GVTg_V5_4-00000001
    c: 1 device on hv3; says 8086-591d-GVTg_V5_4-00000001
    x: new on hv1, hv2; says 8086-591d-GVTg_V5_4-00000001
    y: new on hv1; says 8086-591d-GVTg_V5_4-00000001

  yes: accepted, and room now   full: accepted, no room   room?: accepted, room not known
  ?: unknown   no: refused   -: not asked   own: only its own host   *: see findings

Findings
  unreachable (1): hosts without facts
    hv4: hv4 has no facts.
  no_way_back (1): moves that cannot be undone
    hv1, hv2 a -> x: hv1 to hv2 is a one-way street.

What to do next
  - Reach the unreachable hosts, then run again, without --limit.
  - Mind that the moves marked * can not be undone.
  - Make room for the types marked full in the matrix.

In full: /srv/readiness.json"""


def text(pairings: _model.Pairings) -> str:
    return _report.render_text(_report.build(pairings))


def test_a_small_fleet_at_a_glance() -> None:
    report = _report.build(data.small(), {"hv2": data.snapshot("hv2", {"vm-2": "db"})})
    assert _report.render_text(report, "/srv/readiness.json") == SMALL


def test_an_empty_fleet() -> None:
    assert text(data.pairings([])).splitlines()[1] == ("       0 hosts:   0 fresh, 0 cached, 0 unreachable, 0 excluded")


def test_when_all_is_well_it_says_so() -> None:
    pairings = data.pairings(
        [data.host("hv1"), data.host("hv2")],
        [data.source("s", ("hv1", "d", None))],
        [data.target("x", ("hv2", 1))],
        [data.pairing("s", "x")],
    )
    shown = text(pairings)
    assert "\n       2 hosts:   2 fresh" in shown
    assert "\n       1 device:  1 ready" in shown
    assert "Nothing stands in the way." in shown
    assert "Not ready" not in shown
    assert "Findings" not in shown


def large(hosts: int, errno: str | None = "EINVAL") -> _model.Pairings:
    names = [f"hv{number:04}" for number in range(hosts)]
    return data.pairings(
        [data.host(name, "unreachable" if number % 10 == 9 else "fresh") for number, name in enumerate(names)],
        [data.source(f"s{place}", *((name, f"{name}-d{place}", None) for name in names)) for place in range(20)],
        [data.target(f"t{place}", *((name, 0) for name in names)) for place in range(20)],
        [
            data.pairing(f"s{place}", f"t{other}", "incompatible", "errno", errno)
            for place in range(20)
            for other in range(20)
        ],
        [{"kind": "hung", "hosts": [name], "item": "parents/p", "detail": f"{name} hangs."} for name in names],
    )


@pytest.mark.fault("R22")
def test_a_large_fleet_stays_readable() -> None:
    lines = text(large(1000)).splitlines()
    assert len(lines) < 70
    assert "  unreachable: hv0009, hv0019, hv0029, hv0039, hv0049, and 95 more" in lines
    assert "    and 19995 more" in lines
    assert "    and 997 more" in lines
    assert "  22 more classes are in the JSON file." in lines


def not_asked(pairings: _model.Pairings) -> None:
    for one in pairings["pairings"]:
        if one["target"] == "y":
            one["verdict"], one["reason"] = "unknown", "in_use"


def asked_for_its_type(pairings: _model.Pairings) -> None:
    pairings["targets"][1]["scope"] = "device"


@pytest.mark.parametrize("make", [not_asked, asked_for_its_type])
def test_a_device_in_use_is_no_column(make: t.Callable[[_model.Pairings], None]) -> None:
    pairings = data.small()
    make(pairings)
    shown = text(pairings)
    assert "\n                x\n" in shown
    assert "\n    y: " not in shown


PLAIN = {
    "plain": "plain",
    "web 1": "web 1",
    "\x1b[2J\r\n\t": "\\x1b[2J\\x0d\\x0a\\x09",
    "\u202egnp.exe": "\\u202egnp.exe",
    "\ud800": "\\ud800",
    "a\\x1b": "a\\\\x1b",
    "x" * 60: "x" * 60,
    "x" * 4094: "x" * 60 + "... (4094 characters)",
    "{{ 1+1 }}": "{{ 1+1 }}",
    "": "",
}


@pytest.mark.fault("R16", "L10")
@pytest.mark.parametrize("hostile", PLAIN, ids=range(len(PLAIN)))
def test_names_from_hosts_are_harmless(hostile: str) -> None:
    assert _report.plain(hostile) == PLAIN[hostile]


HOSTILE = st.text(max_size=300) | st.sampled_from(["\x1b]0;x\x07", "a b " * 900, "\r", "\\", "ws\u2028"])


@settings(max_examples=40)
@given(names=st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE), details=st.lists(HOSTILE, max_size=9))
def test_every_line_is_printable_and_fits(names: tuple[str, str, str, str, str], details: list[str]) -> None:
    host, device, vm, kind, string = names
    pairings = data.small()
    for source in pairings["sources"]:
        source["id"], source["type"] = kind, _model.Name(kind)
        source["device_version"] = data.attribute(string)
        source["members"] = [{"host": host, "parent": None, "device": _model.Name(device), "workload": vm}]
    for target in pairings["targets"]:
        target["vendor"], target["version"] = string, data.attribute(None, string)
        target["members"][0]["host"] = host
    for one in pairings["pairings"]:
        one["source"], one["reason"], one["errno"] = kind, string, kind
    pairings["hosts"][4]["host"], pairings["hosts"][4]["errors"] = host, details
    pairings["findings"] = [{"kind": kind, "hosts": [], "item": "", "detail": detail} for detail in details]
    for line in text(pairings).split("\n"):
        assert line == "" or line.isprintable()
        assert len(line) <= _report.WIDTH


@settings(max_examples=20)
@given(seed=st.integers())
def test_the_order_of_the_input_does_not_matter(seed: int) -> None:
    pairings = large(30)
    shuffled = copy.deepcopy(pairings)
    shuffle = random.Random(seed).shuffle
    for mixed in (shuffled["sources"], shuffled["targets"], shuffled["pairings"]):
        shuffle(t.cast("list[object]", mixed))
    for source in shuffled["sources"]:
        shuffle(source["members"])
    assert text(shuffled) == text(pairings)


FAIL_ON: dict[str, list[str]] = {
    "unreachable": ["1 unreachable"],
    "excluded": ["1 excluded"],
    "cached": ["1 cached"],
    "blocked": [],
    "unknown": ["1 unknown"],
    "no_room": ["1 no_room"],
    "findings": ["2 findings"],
    "no_way_back": ["1 no_way_back"],
    "uuid_clash": [],
}


@pytest.mark.parametrize("condition", FAIL_ON)
def test_fail_on(condition: str) -> None:
    assert _report.failures(_report.build(data.small()), [condition]) == FAIL_ON[condition]


def test_a_vm_whose_devices_do_not_fit_together_does_not_pass_a_gate() -> None:
    pairings = data.pairings(
        [data.host("hv1"), data.host("hv2"), data.host("hv3")],
        [data.source("a", ("hv1", "dev-a", "vm")), data.source("b", ("hv1", "dev-b", "vm"))],
        [data.target("x", ("hv2", 1)), data.target("y", ("hv3", 1))],
        [data.pairing("a", "x"), data.pairing("b", "y")],
    )
    report = _report.build(pairings)
    assert report["summary"]["devices"]["ready"] == 2
    assert _report.failures(report, ["blocked", "unknown", "no_room"]) == ["1 blocked"]


def test_every_finding_and_every_bad_state_can_be_failed_on() -> None:
    wanted = {*_reasons.FINDINGS, *_readiness.STATES[1:], *_readiness.HOST_STATES[1:], "findings"}
    assert set(_report.FAIL_ON) == wanted
    assert len(_report.FAIL_ON) == len(wanted)


STRINGS = [" 0x10 ", "{{ 1+1 }}", "yes", "1e3", "\"'\\'\"", "x" * 4094]


@pytest.mark.fault("R13")
@pytest.mark.parametrize("string", STRINGS, ids=range(len(STRINGS)))
def test_the_file_holds_every_contract_unchanged(string: str, tmp_path: pathlib.Path) -> None:
    pairings = data.small()
    pairings["sources"][0]["device_version"] = data.attribute(string)
    snapshots = {name: data.snapshot(name, {"vm-1": string}) for name in ("hv2", "hv1")}
    verdicts: dict[str, _model.VerdictSet] = {
        "hv1": {
            "schema_version": 1,
            "host": "hv1",
            "boot_id": None,
            "time": data.NOW,
            "written": 0,
            "would_write": [],
            "verdicts": [],
            "notes": [{"item": "host", "reason": "absent", "detail": string}],
        }
    }
    report = _report.build(pairings, snapshots)
    path = tmp_path / "readiness.json"
    _files.write_json(path, _report.contents(report, snapshots, verdicts))
    assert json.loads(path.read_text(encoding="ascii")) == {
        **pairings,
        "summary": report["summary"],
        "devices": report["devices"],
        "workloads": report["workloads"],
        "drains": report["drains"],
        "capacity": report["capacity"],
        "plan": None,
        "facts": [
            {"host": "hv1", "snapshot": snapshots["hv1"], "verdicts": verdicts["hv1"]},
            {"host": "hv2", "snapshot": snapshots["hv2"], "verdicts": None},
        ],
    }


TIMELESS = [
    ('"time": "2026-11-22T19:04:14Z"', '"time": "2026-11-22T20:00:00Z"', True),
    ('"asked": null', '"asked": "2026-11-22T20:00:00Z"', True),
    ('"age": 3', '"age": 86400', True),
    ('"age": null', '"age": 3', True),
    ('"written": 12', '"written": 0', True),
    ('"pid": 7', '"pid": 8', True),
    ('"workload": "pid:7"', '"workload": "pid:8"', True),
    ('"workload": "vm-1"', '"workload": "vm-2"', False),
    ('"room": 1', '"room": 0', False),
    ('"value": "\\"age\\": 3"', '"value": "\\"age\\": 4"', False),
]


@pytest.mark.parametrize(("one", "two", "same"), TIMELESS)
def test_what_counts_as_a_change(one: str, two: str, same: bool) -> None:
    assert _report.differ([one], [two]) is not same


def test_a_line_more_is_a_change() -> None:
    assert _report.differ(["a"], ["a", "b"])
    assert _report.differ(["a", "b"], ["a"])
    assert not _report.differ([], [])
