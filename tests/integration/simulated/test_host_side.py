# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host side of the collection on a sysfs that answers like a kernel: every fault a driver can produce."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _inventory, _model, _probe, _reader
from ansible_collections.vfio.migration.plugins.module_utils._model import Attribute, Request, Snapshot, Verdict
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import check
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

UUID = "11111111-0000-4000-8000-000000000001"
GOOD, BAD = "0000:3b:00.0", "0000:3c:00.0"
TYPE = "nv-1"
NODE = f"parents/{BAD}/types/{TYPE}/migration_version"

SCENARIO: dict[str, t.Any] = {
    "version": 1,
    "name": "faults",
    "hosts": {
        "hv1": {
            "parents": {
                address: {
                    "driver": "nv",
                    "driver_version": "1.2",
                    "vendor": "10de",
                    "rule": "exact",
                    "types": {"nv-1": {"name": "one", "description": "num_heads=4"}, "nv-2": {"name": "two"}},
                }
                for address in (GOOD, BAD)
            },
            "mdevs": [{"uuid": UUID, "parent": GOOD, "type": TYPE}],
            "vfs": {"0000:5e:00.2": {"driver": "mlx5_vfio_pci", "vendor": "15b3", "rule": "exact"}},
        }
    },
}


@pytest.fixture(scope="module")
def running() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as fleet:
        yield fleet


@pytest.fixture
def fleet(running: Fleet) -> t.Iterator[Fleet]:
    """The fleet as it was at the start."""
    running.client("reset_counters")
    yield running
    running.client("fault_clear")


@pytest.fixture
def fresh() -> t.Iterator[Fleet]:
    """A fleet of its own, for a test that breaks it."""
    with simulated_fleet(SCENARIO) as fleet:
        yield fleet


def _options(fleet: Fleet, **changes: t.Any) -> _reader.Options:
    host = fleet.host("hv1")
    options = _reader.Options(
        sysfs_root=str(host.sysfs_root),
        proc_root=str(host.proc_root),
        read_timeout=1.0,
        deadline=20.0,
        device_attribute="bus/{bus}/devices/{address}/migration_version",
        host="hv1",
        kernel="6.12.0",
        page_size=4096,
    )
    return options._replace(**changes)


def _fault(fleet: Fleet, node: str, **fault: t.Any) -> None:
    fleet.client("fault_set", host="hv1", fault={"node": node, **fault})


def _gather(fleet: Fleet, **changes: t.Any) -> Snapshot:
    """Whatever a host does, the controller must be able to take what it says."""
    found = _inventory.snapshot(_options(fleet, **changes))
    assert check(_model.Snapshot, found, "hv1") == []
    return found


def _version(found: Snapshot, address: str = BAD, type_id: str = TYPE) -> Attribute:
    parent = next(parent for parent in found["parents"] if parent["address"] == address)
    return next(type_ for type_ in parent["types"] if type_["id"] == type_id)["migration_version"]


def _reasons(found: Snapshot) -> set[tuple[str, str]]:
    return {(note["item"], note["reason"]) for note in found["notes"] if note["reason"] != "other_root"}


READS: list[t.Any] = [
    pytest.param({"fault": "R2"}, "unsupported", "absent", "ENOENT", marks=pytest.mark.fault("R2")),
    *(
        pytest.param({"fault": "R3", "errno": name}, "unsupported", "errno", name, marks=pytest.mark.fault("R3"))
        for name in ("ENODEV", "EOPNOTSUPP", "EIO", "EINVAL")
    ),
    *(
        pytest.param({"fault": "R4", "errno": name}, "unknown", "busy", name, marks=pytest.mark.fault("R4"))
        for name in ("EAGAIN", "EBUSY", "ETIMEDOUT")
    ),
    pytest.param({"fault": "R9"}, "invalid", "truncated", None, marks=pytest.mark.fault("R9")),
    pytest.param({"fault": "R10"}, "invalid", "empty", None, marks=pytest.mark.fault("R10")),
    pytest.param({"fault": "R11"}, "invalid", "not_ascii", None, marks=pytest.mark.fault("R11")),
    pytest.param({"fault": "R14"}, "unknown", "permission", "EACCES", marks=pytest.mark.fault("R14")),
]


@pytest.mark.parametrize(("fault", "status", "reason", "errno"), READS)
def test_faults_of_a_read(fleet: Fleet, fault: dict[str, t.Any], status: str, reason: str, errno: str | None) -> None:
    _fault(fleet, NODE, **fault)
    found = _gather(fleet)
    version = _version(found)
    assert (version["status"], version["reason"], version["errno"], version["value"]) == (status, reason, errno, None)
    assert _version(found, GOOD)["status"] == "ok", "one bad node never spoils the others"
    assert _version(found, BAD, "nv-2")["status"] == "ok"


@pytest.mark.fault("R4")
def test_busy_driver_that_recovers_is_heard(fleet: Fleet) -> None:
    _fault(fleet, NODE, fault="R4", times=2)
    assert _version(_gather(fleet))["status"] == "ok"


@pytest.mark.fault("R3")
def test_enodev_is_looked_at_twice(fleet: Fleet) -> None:
    _fault(fleet, NODE, fault="R3", times=1)
    assert _version(_gather(fleet))["status"] == "ok"


@pytest.mark.fault("R12", "R13")
@pytest.mark.parametrize("text", [" two\nlines \n", "{{ 1+1 }}\n", "yes\n", "1e3\n", " 0x10 \n", "'\"\\\n"])
def test_text_comes_out_less_one_newline(fleet: Fleet, text: str) -> None:
    _fault(fleet, NODE, kind="value", value=text)
    assert _version(_gather(fleet)) == {
        "status": "ok",
        "value": text[:-1],
        "reason": None,
        "errno": None,
        "raw": None,
    }


@pytest.mark.fault("R5", "R7")
def test_type_that_vanishes_between_listing_and_reading_is_dropped(fresh: Fleet) -> None:
    _fault(fresh, NODE, fault="R7")
    found = _gather(fresh)
    assert [type_["id"] for type_ in found["parents"][1]["types"]] == ["nv-2"]
    assert (f"parents/{BAD}/types/{TYPE}", "gone") in _reasons(found)


@pytest.mark.fault("R5")
def test_device_that_vanishes_between_listing_and_reading_is_dropped(fleet: Fleet) -> None:
    _fault(fleet, f"devices/{UUID}*", fault="R5")
    found = _gather(fleet)
    assert UUID not in [device["id"] for device in found["devices"]]
    assert UUID in str(_reasons(found))
    assert "0000:5e:00.2" in [device["id"] for device in found["devices"]]


@pytest.mark.fault("R6")
def test_parent_unplugged_while_it_is_read(fresh: Fleet) -> None:
    _fault(fresh, f"parents/{BAD}/types/{TYPE}/available_instances", fault="R6")
    found = _gather(fresh)
    assert _version(found, GOOD)["status"] == "ok"
    bad = [parent for parent in found["parents"] if parent["address"] == BAD]
    assert [type_["id"] for parent in bad for type_ in parent["types"]] == []
    assert [parent["state"] for parent in bad] == ["gone"]
    assert BAD in str(_reasons(found))


@pytest.mark.fault("R8", "R22")
def test_hung_driver_costs_its_timeout_once(fleet: Fleet) -> None:
    """The reader is stuck in state D, where no signal ends it, and the host reports all the same."""
    _fault(fleet, NODE, fault="R8")
    begin = time.monotonic()
    found = _gather(fleet, read_timeout=1.0)
    took = time.monotonic() - begin
    assert fleet.client("status")["hv1"]["stuck"] == 1, "asked once, and stuck to this moment"
    assert [(parent["address"], parent["state"]) for parent in found["parents"]] == [(GOOD, "ok"), (BAD, "hung")]
    assert [_version(found, BAD, name)["reason"] for name in ("nv-1", "nv-2")] == ["hung", "hung"]
    assert _version(found, GOOD)["status"] == "ok"
    assert 1.0 <= took < 8.0
    assert fleet.client("counters", host="hv1")["hv1"].get(NODE, {"reads": 1})["reads"] <= 1


@pytest.mark.fault("R8", "R22")
def test_nobody_waits_beyond_the_deadline(fleet: Fleet) -> None:
    _fault(fleet, "parents/*/types/*/available_instances", kind="hang", op="read")
    begin = time.monotonic()
    found = _gather(fleet, read_timeout=30.0, deadline=1.0)
    assert time.monotonic() - begin < 8.0
    assert ("host", "deadline") in _reasons(found)
    assert _version(found)["reason"] == "deadline"


@pytest.mark.fault("R15")
@pytest.mark.parametrize("text", ["many\n", "-1\n", "4294967295\n"])
def test_capacity_without_sense(fleet: Fleet, text: str) -> None:
    _fault(fleet, f"parents/{BAD}/types/{TYPE}/available_instances", kind="value", value=text)
    found = _gather(fleet)
    assert next(type_ for type_ in found["parents"][1]["types"] if type_["id"] == TYPE)["available_instances"] is None


@pytest.mark.fault("R16")
def test_huge_description(fleet: Fleet) -> None:
    _fault(fleet, f"parents/{BAD}/types/{TYPE}/description", fault="R16")
    found = next(type_ for type_ in _gather(fleet)["parents"][1]["types"] if type_["id"] == TYPE)
    assert (found["description"] or "").startswith("a line\na line\n")


@pytest.mark.fault("R18")
def test_half_created_device(fleet: Fleet) -> None:
    _fault(fleet, f"devices/{UUID}/mdev_type", fault="R18")
    device = next(device for device in _gather(fleet)["devices"] if device["id"] == UUID)
    assert (device["type"], device["migration_version"]["reason"]) == (None, "incomplete")


@pytest.mark.fault("R18")
def test_type_link_that_comes_late_is_waited_for(fleet: Fleet) -> None:
    _fault(fleet, f"devices/{UUID}/mdev_type", fault="R18", times=1)
    assert next(device for device in _gather(fleet)["devices"] if device["id"] == UUID)["type"] == TYPE


@pytest.mark.fault("R8", "R18")
def test_hung_parent_with_an_instance_is_a_record_that_the_controller_takes(fleet: Fleet) -> None:
    _fault(fleet, f"parents/{GOOD}/types/{TYPE}/migration_version", fault="R8")
    found = _gather(fleet, read_timeout=1.0)
    device = next(device for device in found["devices"] if device["id"] == UUID)
    assert (device["type"], device["in_use_by"], device["migration_version"]["reason"]) == (TYPE, [], "hung")


def _request(string: str = "10de-0000-1-1.2", **changes: t.Any) -> Request:
    request = {
        "scope": "type",
        "parent": BAD,
        "type": TYPE,
        "device": None,
        "string": string,
        "vendor": "pci:10de",
        "source_type": TYPE,
        **changes,
    }
    return t.cast(Request, request)


def _ask(fleet: Fleet, *requests: Request, check_mode: bool = False, **changes: t.Any) -> list[Verdict]:
    return _probe.verdicts(_options(fleet, **changes), requests, 1000, check_mode)["verdicts"]


def _writes(fleet: Fleet) -> dict[str, int]:
    nodes = fleet.client("counters", host="hv1").get("hv1", {})
    return {node: counts["writes"] for node, counts in nodes.items() if counts["writes"]}


WRITES: list[t.Any] = [
    pytest.param({"fault": "P1"}, "incompatible", "errno", "EINVAL", marks=pytest.mark.fault("P1")),
    pytest.param({"fault": "P1", "errno": "ERANGE"}, "incompatible", "errno", "ERANGE", marks=pytest.mark.fault("P1")),
    pytest.param({"fault": "P2"}, "unknown", "not_probed", "EROFS", marks=pytest.mark.fault("P2")),
    pytest.param({"fault": "P2", "errno": "EACCES"}, "unknown", "not_probed", "EACCES", marks=pytest.mark.fault("P2")),
    pytest.param({"fault": "P3"}, "unknown", "short_write", None, marks=pytest.mark.fault("P3")),
    pytest.param({"fault": "P1", "errno": "EBUSY"}, "unknown", "busy", "EBUSY", marks=pytest.mark.fault("R4")),
]


@pytest.mark.parametrize(("fault", "verdict", "reason", "errno"), WRITES)
def test_faults_of_a_write(fleet: Fleet, fault: dict[str, t.Any], verdict: str, reason: str, errno: str | None) -> None:
    _fault(fleet, NODE, **fault)
    bad, good = _ask(fleet, _request(), _request(parent=GOOD))
    assert (bad["verdict"], bad["reason"], bad["errno"]) == (verdict, reason, errno)
    assert good["verdict"] == "compatible"


@pytest.mark.fault("P3")
def test_tail_of_a_short_write_is_never_sent(fleet: Fleet) -> None:
    _fault(fleet, NODE, fault="P3")
    _ask(fleet, _request())
    assert _writes(fleet) == {NODE: 1}


@pytest.mark.fault("P1")
def test_no_from_a_parent_that_left_is_unknown(fresh: Fleet) -> None:
    _fault(fresh, NODE, kind="trigger", op="write", action="unplug")
    assert [verdict["verdict"] for verdict in _ask(fresh, _request("other"))] == ["unknown"]


@pytest.mark.fault("P6")
def test_hung_write_ends_the_questions_to_that_parent_only(fleet: Fleet) -> None:
    _fault(fleet, NODE, fault="P6")
    begin = time.monotonic()
    verdicts = _ask(fleet, _request("a"), _request("b"), _request("c", parent=GOOD), read_timeout=1.0)
    assert time.monotonic() - begin < 8.0
    assert [(verdict["verdict"], verdict["reason"]) for verdict in verdicts] == [
        ("unknown", "hung"),
        ("unknown", "hung"),
        ("incompatible", "errno"),
    ]
    assert fleet.client("status")["hv1"]["stuck"] == 1


@pytest.mark.fault("P10")
def test_check_mode_reaches_no_node(fleet: Fleet) -> None:
    verdicts = _ask(fleet, _request(), _request(scope="device", device=UUID), check_mode=True)
    assert [verdict["reason"] for verdict in verdicts] == ["check_mode", "check_mode"]
    assert _writes(fleet) == {}


@pytest.mark.fault("P11", "P13", "P4", "P12")
def test_refusals_cost_no_write_and_repeats_cost_one(fleet: Fleet) -> None:
    verdicts = _ask(
        fleet,
        _request(vendor="pci:8086"),
        _request(source_type="nv-2"),
        _request("x" * 4097),
        _request(),
        _request(),
    )
    assert [verdict["reason"] for verdict in verdicts] == ["vendor", "type", "too_long", None]
    assert _writes(fleet) == {NODE: 1}


@pytest.mark.fault("P5")
def test_the_form_without_newline_is_what_the_driver_sees(fleet: Fleet) -> None:
    string = "10de-0000-1-1.2"
    verdict = _ask(fleet, _request(string))[0]
    assert (verdict["verdict"], verdict["form"], verdict["bytes_written"]) == (
        "compatible",
        "without_newline",
        len(string),
    )


def test_all_three_locations_are_asked(fleet: Fleet) -> None:
    found = _gather(fleet)
    strings = {str(device["id"]): device["migration_version"]["value"] or "" for device in found["devices"]}
    verdicts = _ask(
        fleet,
        _request(_version(found)["value"] or ""),
        _request(strings[UUID], scope="device", device=UUID),
        _request(strings["0000:5e:00.2"], scope="device", device="0000:5e:00.2", vendor="pci:15b3"),
    )
    assert [verdict["verdict"] for verdict in verdicts] == ["compatible"] * 3
    assert sum(_writes(fleet).values()) == 3


@pytest.mark.fault("P7")
def test_evidence_changes_with_driver_and_boot(fresh: Fleet) -> None:
    before = _ask(fresh, _request())[0]["evidence"]
    fresh.client("set_driver", host="hv1", driver="nv", version="1.3", string_version="1.2")
    fresh.client("reboot", host="hv1")
    after = _ask(fresh, _request())[0]["evidence"]
    assert before["driver_version"] == "1.2"
    assert after["driver_version"] == "1.3"
    assert before["boot_id"] != after["boot_id"]
