# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, good and bad, written by hand in few words."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

Plan = dict[str, t.Any]
Change = t.Callable[[Plan], t.Any]

UUID = "{:08x}-0000-4000-8000-000000000000"


def device(
    number: int, target: int | None = None, string: str | None = "s", place: tuple[str, str] = ("p1", "t1")
) -> Plan:
    """Device ``number`` of a source, and instance ``target`` for it; its own number without one."""
    return {
        "source": UUID.format(number),
        "source_type": place[1],
        "vendor": data.VENDOR,
        "type_string": string,
        "device_string": string,
        "parent": place[0],
        "type": place[1],
        "uuid": UUID.format(number if target is None else target),
        "attributes": [],
    }


def move(workload: str, source: str, target: str, *devices: Plan, wave: int = 1) -> Plan:
    """All of a workload's devices to one host."""
    return {
        "workload": workload,
        "name": f"name-of-{workload}",
        "source": source,
        "target": target,
        "wave": wave,
        "devices": list(devices),
    }


def passthrough(number: int, target: str, string: str | None = "s") -> Plan:
    """VFIO device ``number`` of a source, and the free one on the target that takes its place."""
    return {
        "source": f"0000:00:{number:02x}.0",
        "source_type": None,
        "vendor": data.VENDOR,
        "device_string": string,
        "device": target,
    }


def planning() -> Plan:
    """What a planner adds."""
    return {
        "inputs": {"fingerprint": "0" * 64, "oldest": data.HOUR_AGO, "age": 3600, "hosts": []},
        "policy": {"drain": ["hv1"]},
        "batches": [{"batch": 1, "hosts": ["hv1"], "emptied": ["hv1"], "waves": [1, 2]}],
        "stopped": [{"workload": "vm8", "name": None, "host": "hv1"}],
        "capacity": [
            {
                "model": "shared_units",
                "origin": "driver",
                "detail": "ports",
                "driver": "mtty",
                "types": [{"type": "t1", "most": 24, "needs": [{"resource": "ports", "units": 1}]}],
                "parents": [{"host": "hv2", "parent": "p1", "left": [{"resource": "ports", "units": 5}]}],
            }
        ],
        "bound": {"hosts": 1, "workloads": 2, "method": "everything"},
        "bound_reason": None,
        "gap": {"hosts": 0, "workloads": 0},
        "notes": [{"item": "devices/x", "reason": "no_owner", "detail": "nobody knows whose it is"}],
    }


def plan(*moves: Plan, policy: str = "new", created: str = data.HOUR_AGO) -> Plan:
    """A plan of these moves."""
    return {
        "schema_version": 1,
        "id": "rack-7.b",
        "created": created,
        "uuid_policy": policy,
        "persist": False,
        "partial": False,
        "moves": list(moves),
        "stuck": [],
    }


def two() -> Plan:
    """Two workloads of hv1, one with two devices, to two hosts."""
    return plan(
        move("vm1", "hv1", "hv2", device(1, 101), device(2, 102)),
        move("vm2", "hv1", "hv3", device(3, 103), wave=2),
    )


GOOD: dict[str, Change] = {
    "as it is": lambda plan: plan,
    "no moves": lambda plan: plan.update(moves=[]),
    "policy same": lambda plan: plan.update(
        uuid_policy="same", moves=[move("vm1", "hv1", "hv2", device(1), device(2))]
    ),
    "capitals": lambda plan: plan["moves"][0]["devices"][0].update(uuid=UUID.format(0xABCDEF).upper()),
    "braces": lambda plan: plan["moves"][0]["devices"][0].update(uuid="{" + UUID.format(0xABCDEF) + "}"),
    "a name for resources": lambda plan: plan["moves"][0]["devices"][0].update(
        uuid="urn:uuid:" + UUID.format(0xABCDEF)
    ),
    "not RFC 4122": lambda plan: plan["moves"][0]["devices"][0].update(uuid="00000100-0000-0000-0000-000000000101"),
    "no strings": lambda plan: plan["moves"][0]["devices"][0].update(type_string=None, device_string=None),
    "no name": lambda plan: plan["moves"][0].update(name=None),
    "a parent that is not PCI": lambda plan: plan["moves"][0]["devices"][0].update(parent="0.0.0313"),
    "attributes": lambda plan: plan["moves"][0]["devices"][0].update(
        attributes=[{"name": "assign_adapter", "value": "5"}, {"name": "group/assign_domain", "value": "0xab"}]
    ),
    "physical source": lambda plan: plan["moves"][1]["devices"][0].update(source="0000:5e:00.1", source_type=None),
    "a device that is there already": lambda plan: plan["moves"][0].update(
        passthrough=[passthrough(7, "0000:01:00.1")]
    ),
    "nothing but devices that are there": lambda plan: plan["moves"][0].update(
        devices=[], passthrough=[passthrough(7, "0000:01:00.1")]
    ),
    "a workload that moves twice": lambda plan: plan["moves"].append(
        move("vm1", "hv2", "hv3", device(101, 201), device(102, 202), wave=2)
    ),
    "a workload that moves twice and keeps its UUIDs": lambda plan: plan.update(
        uuid_policy="same",
        moves=[move("vm1", "hv1", "hv2", device(1)), move("vm1", "hv2", "hv3", device(1), wave=2)],
    ),
    "stuck after its first move": lambda plan: plan["stuck"].append(
        {"workload": "vm1", "host": "hv2", "reason": "contention", "detail": "hv3 is full", "rivals": ["vm2"]}
    ),
    "by a planner": lambda plan: plan.update(planning=planning()),
    "more than we know": lambda plan: plan.update(note="moved by hand"),
    "stuck": lambda plan: plan["stuck"].append(
        {"workload": "vm9", "name": None, "host": "hv1", "reason": "no_compatible_host", "detail": "nobody takes it"}
    ),
}


def _device(**fields: t.Any) -> Change:
    return lambda plan: plan["moves"][0]["devices"][0].update(fields)


def _move(**fields: t.Any) -> Change:
    return lambda plan: plan["moves"][0].update(fields)


def _passed(**fields: t.Any) -> Change:
    return _move(passthrough=[{**passthrough(7, "0000:01:00.1"), **fields}])


def _second(**fields: t.Any) -> Change:
    """After vm1 came to hv2 it goes on to hv3."""
    return lambda plan: plan["moves"].append(
        {**move("vm1", "hv2", "hv3", device(101, 201), device(102, 202), wave=2), **fields}
    )


def _attribute(name: str, value: str = "1") -> Change:
    return _device(attributes=[{"name": name, "value": value}])


# What breaks the contract: the JSON schema knows it as well.
BROKEN: dict[str, tuple[Change, str]] = {
    "version": (lambda plan: plan.update(schema_version=2), ".schema_version must be 1, not 2"),
    "no id": (lambda plan: plan.pop("id"), ".id is missing"),
    "id is a path": (lambda plan: plan.update(id="../../etc"), ".id must be one name"),
    "id is shell text": (lambda plan: plan.update(id="$(reboot)"), ".id must be a name without"),
    "no time": (lambda plan: plan.update(created="yesterday"), ".created must be a UTC time"),
    "policy": (lambda plan: plan.update(uuid_policy="old"), ".uuid_policy must be one of new, same"),
    "persist is text": (lambda plan: plan.update(persist="yes"), ".persist must be a boolean, not string"),
    "moves are a mapping": (lambda plan: plan.update(moves={}), ".moves must be a list, not mapping"),
    "a move is text": (lambda plan: plan["moves"].append("vm3"), ".moves[2] must be a mapping, not string"),
    "wave is text": (_move(wave="1"), ".moves[0].wave must be an int, not string"),
    "wave is a truth": (_move(wave=True), ".moves[0].wave must be an int, not boolean"),
    "no devices": (lambda plan: plan["moves"][0].pop("devices"), ".moves[0].devices is missing"),
    "parent is a path": (_device(parent="../../x"), ".moves[0].devices[0].parent must be one name"),
    "parent is absolute": (_device(parent="/etc"), ".moves[0].devices[0].parent must be one name"),
    "parent is a dot": (_device(parent=".."), ".moves[0].devices[0].parent must be one name"),
    "type is shell text": (_device(type="a; rm -rf b"), ".moves[0].devices[0].type must be a name without"),
    "type has a line break": (_device(type="nvidia-35\n"), ".moves[0].devices[0].type must be a name without"),
    "type is empty": (_device(type=""), ".moves[0].devices[0].type must have 1 to 255"),
    "source is a path": (_device(source="a/b"), ".moves[0].devices[0].source must be one name"),
    "uuid is a path": (_device(uuid="../x"), ".moves[0].devices[0].uuid must be one name"),
    "string is a number": (_device(device_string=16), ".moves[0].devices[0].device_string must be a string"),
    "attribute without value": (_device(attributes=[{"name": "a"}]), ".attributes[0].value is missing"),
}

# What only a look at several values, or at their meaning, can tell.
WRONG: dict[str, tuple[Change, str]] = {
    "id has blanks": (lambda plan: plan.update(id="rack 7"), ".id must be at most 128 letters"),
    "uuid is none": (_device(uuid="vgpu-1"), ".moves[0].devices[0].uuid must be 8-4-4-4-12"),
    "uuid is short": (_device(uuid=UUID.format(1)[:-1]), ".moves[0].devices[0].uuid must be 8-4-4-4-12"),
    "uuid is long": (_device(uuid=UUID.format(1) + "0"), ".moves[0].devices[0].uuid must be 8-4-4-4-12"),
    "uuid of the source": (_device(uuid=UUID.format(1)), ".uuid must not be that of its source under uuid_policy new"),
    "another uuid": (lambda plan: plan.update(uuid_policy="same"), ".uuid must be that of its source"),
    "uuid twice": (
        lambda plan: plan["moves"][1]["devices"][0].update(uuid=UUID.format(101)),
        ".moves[1].devices[0].uuid is the UUID 00000065-0000-4000-8000-000000000000 once more",
    ),
    "uuid twice, spelled otherwise": (
        lambda plan: plan["moves"][1]["devices"][0].update(uuid="{" + UUID.format(101).upper() + "}"),
        ".moves[1].devices[0].uuid is the UUID",
    ),
    "device twice": (
        lambda plan: plan["moves"][1]["devices"][0].update(source=UUID.format(1)),
        ".moves[1].devices[0].source is the device hv1/",
    ),
    "workload twice": (
        lambda plan: plan["moves"][1].update(workload="vm1"),
        ".moves[1] is the workload vm1 on hv1 once more, after moves[0]",
    ),
    "moved and stuck": (
        lambda plan: plan["stuck"].append(
            {"workload": "vm1", "name": None, "host": "hv1", "reason": "unknown", "detail": "x"}
        ),
        ".stuck[0] is the workload vm1 on hv1 once more",
    ),
    "to itself": (_move(target="hv1"), ".moves[0].target must be another host than the source"),
    "wave 0": (_move(wave=0), ".moves[0].wave must be 1 or more, not 0"),
    "empty move": (_move(devices=[]), ".moves[0].devices must have at least one device, or passthrough"),
    "empty string passed through": (_passed(device_string=""), ".passthrough[0].device_string must be ASCII text"),
    "device passed through twice": (
        lambda plan: plan["moves"][0].update(
            passthrough=[passthrough(7, "0000:01:00.1"), passthrough(8, "0000:01:00.1")]
        ),
        ".moves[0].passthrough[1].device is the device hv2/0000:01:00.1 in wave 1 once more",
    ),
    "two moves in one wave": (_second(wave=1), ".moves[2].wave must be later than that of moves[0], which moves vm1"),
    "second move from elsewhere": (_second(source="hv9"), ".moves[2].source must be hv2, where wave 1 takes vm1"),
    "second move of another device": (
        _second(devices=[device(101, 201), device(9, 202)]),
        ".moves[2].devices must have as sources what wave 1 makes of vm1",
    ),
    "second move of a part": (_second(devices=[device(101, 201)]), ".moves[2].devices must have as sources what wave"),
    "second move, no new uuid": (
        _second(devices=[device(101, 103), device(102, 202)]),
        ".moves[2].devices[0].uuid is the UUID",
    ),
    "no workload": (_move(workload=""), ".moves[0].workload must be text"),
    "workload of escapes": (_move(workload="\x1b[2J"), ".moves[0].workload must be text"),
    "host is a pattern": (_move(target="all:!hv1"), ".moves[0].target must be the name of a host"),
    "host is a glob": (_move(target="hv*"), ".moves[0].target must be the name of a host"),
    "host is a regular expression": (_move(source="~hv.+"), ".moves[0].source must be the name of a host"),
    "host is a template": (_move(source="{{ lookup('pipe', 'id') }}"), ".moves[0].source must be the name of a host"),
    "attribute is a path": (_attribute("../remove"), ".attributes[0].name must be an attribute below the device"),
    "attribute is absolute": (_attribute("/etc/passwd"), ".attributes[0].name must be an attribute"),
    "attribute is empty": (_attribute(""), ".attributes[0].name must be an attribute"),
    "attribute removes": (_attribute("remove"), ".attributes[0].name must be an attribute"),
    "attribute of the driver": (_attribute("driver/unbind"), ".attributes[0].name must be an attribute"),
    "attribute of the power": (_attribute("power/control"), ".attributes[0].name must be an attribute"),
    "attribute of the character device": (_attribute("vfio-dev/x"), ".attributes[0].name must be an attribute"),
    "value is empty": (_attribute("a", ""), ".attributes[0].value must be text"),
    "value of two lines": (_attribute("a", "1\n2"), ".attributes[0].value must be text"),
    "string is empty": (_device(device_string=""), ".device_string must be ASCII text that is not empty"),
    "string is not ASCII": (_device(type_string="\u00e4"), ".type_string must be ASCII text"),
}


def changed(change: Change) -> Plan:
    """The plan of ``two`` after a change."""
    result = copy.deepcopy(two())
    change(result)
    return result
