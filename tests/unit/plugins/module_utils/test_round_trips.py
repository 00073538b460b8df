# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often sysfs is touched, and how often the module waits for its child: per instance, per parent, per type.

Time on a host goes by these two numbers. What one more instance costs is the difference between two runs, so that
what a run costs anyhow does not blur it.
"""

from __future__ import annotations

import os
import shutil
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _instances, _mdevs, _order, _sysfs
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Op, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._inventory import snapshot

PARENT = "0000:00:02.0"
PARENT_PATH = "devices/pci0000:00/" + PARENT
TYPE = "i915-GVTg_V5_4"
FEW, MANY = 4, 12


class Cost(t.NamedTuple):
    """Accesses by the child, and messages to it."""

    accesses: float
    trips: float


class Meter:
    """Counts what all guards are given."""

    def __init__(self) -> None:
        self.ops: t.List[str] = []
        self.trips = 0

    def of(self, call: t.Callable[[], t.Any]) -> Cost:
        self.ops, self.trips = [], 0
        call()
        return Cost(len(self.ops), self.trips)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    found = Meter()
    run = Guard.run

    def counted(guard: Guard, ops: t.Sequence[Op]) -> t.List[Outcome]:
        found.ops += [op.handler for op in ops]
        found.trips += bool(ops)
        return run(guard, ops)

    monkeypatch.setattr(Guard, "run", counted)
    return found


@pytest.fixture
def driver(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """A driver on plain files, at work in the child: it makes and removes what is written, and accepts all strings."""
    boot_id = host.proc / "sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text("b0075a1d-0000-4000-8000-000000000001\n")
    host.file("%s/mdev_supported_types/%s/available_instances" % (PARENT_PATH, TYPE), b"100\n")

    def write(path: str, data: bytes) -> int:
        if path.endswith("/create"):
            host.mdev(PARENT_PATH, data.decode().strip(), TYPE, 9, b"x\n")
        elif path.endswith("/remove"):
            shutil.rmtree(os.path.dirname(path))
            os.unlink(str(host.sys / "bus/mdev/devices" / os.path.basename(os.path.dirname(path))))
        return len(data)

    monkeypatch.setitem(_mdevs.HANDLERS, "write", write)
    return host


def _order_of(count: int, state: str) -> t.Dict[str, t.Any]:
    instances = [
        {
            "uuid": "11111111-0000-4000-8000-%012d" % number,
            "parent": PARENT,
            "type": TYPE,
            "workload": "vm%d" % (number // 4),
            "attributes": None,
            "accepts": "x",
        }
        for number in range(count)
    ]
    flags = dict.fromkeys(("persist", "reuse", "force_foreign", "all_ours"), False)
    present = state == "present"
    rest = {"plan": "p1", "workloads": None, "bind_timeout": 1.0, "state": state}
    return {"instances": instances if present else None, **flags, **rest}


def _run(host: t.Any, ledger: t.Any, count: int, state: str) -> None:
    order, errors = _order.parse(_order_of(count, state))
    assert errors == []
    options = host.options(libvirt_roots=(str(ledger),))
    report = _instances.run(options, order, str(ledger), state == "absent", False)
    assert [one["msg"] for one in report.workloads if not one["ok"]] == []
    assert sum(len(one["instances"]) for one in report.workloads) == count


def _one_more(few: Cost, many: Cost, more: int) -> Cost:
    return Cost((many.accesses - few.accesses) / more, (many.trips - few.trips) / more)


def _check(costs: t.Sequence[Cost], accesses: float, trips: float) -> None:
    found = _one_more(costs[0], costs[1], MANY - FEW)
    assert found.accesses <= accesses, found
    assert found.trips <= trips, found


LIMITS: t.List[t.Any] = [
    # Create, room, mdev_type and driver, migration_version; mdev_type once more at the end; four for its record.
    pytest.param("made", 10, 2, id="made"),
    # Its link and mdev_type, three for its holders, migration_version; mdev_type at the end; four for its record.
    pytest.param("there", 11, 2, id="there"),
]


@pytest.mark.parametrize(("what", "accesses", "trips"), LIMITS)
def test_one_more_instance_costs(
    driver: t.Any, meter: Meter, tmp_path: t.Any, what: str, accesses: int, trips: int
) -> None:
    costs = []
    for count in (FEW, MANY):
        ledger = tmp_path / ("ledger%d" % count)
        first = meter.of(lambda: _run(driver, ledger, count, "present"))  # noqa: B023  # called at once
        again = meter.of(lambda: _run(driver, ledger, count, "present"))  # noqa: B023
        costs.append(first if what == "made" else again)
        _run(driver, ledger, count, "absent")
    _check(costs, accesses, trips)
    assert costs[0].trips <= FEW * trips + 25, "what a run costs anyhow"


@pytest.mark.fault("C7")
def test_room_is_read_after_every_create(driver: t.Any, meter: Meter, tmp_path: t.Any) -> None:
    """What may not be saved: siblings take each other's room."""
    meter.of(lambda: _run(driver, tmp_path / "ledger", MANY, "present"))
    one = ["claimed", "link", "link", "read", "write"]
    start = meter.ops.index("claimed")
    assert meter.ops[start - 1] == "read", "the first time it is read when that is decided, and right before"
    assert meter.ops[start : start + MANY * len(one)] == one * MANY


def test_one_more_instance_to_take_back_costs(driver: t.Any, meter: Meter, tmp_path: t.Any) -> None:
    """Most of it is looking, right before each removal, at who might hold it."""
    costs = []
    for count in (FEW, MANY):
        _run(driver, tmp_path / "ledger", count, "present")
        costs.append(meter.of(lambda: _run(driver, tmp_path / "ledger", count, "absent")))  # noqa: B023
    _check(costs, 19.25, 10.75)


def test_snapshot_costs(host: t.Any, meter: Meter) -> None:
    """Each attribute once, and as many messages however many parents, types and instances there are."""

    def grow(numbers: t.Iterable[int], types: int, mdevs: int) -> Cost:
        for number in numbers:
            path = "devices/pci0000:00/0000:00:%02x.0" % number
            host.parent(path)
            names = ["T%d" % index for index in range(types)]
            for name in names:
                texts = dict.fromkeys(("name", "description", "device_api", "migration_version"), b"x\n")
                host.type(path, name, available_instances=b"1\n", **texts)
            for index in range(mdevs):
                host.mdev(path, "11111111-%04d-4000-8000-%012d" % (number, index), "T0", number, b"x\n")
        return meter.of(lambda: snapshot(host.options()))

    base = grow((), 0, 0)
    parents = _one_more(base, grow(range(16, 20), 1, 0), 4)
    types = _one_more(Cost(base.accesses + 4 * parents.accesses, 0), grow(range(20, 24), 5, 0), 4)
    # The link in the class, four nodes that say who it is, the list of its types; and five for the one type it has.
    assert parents == Cost(6 + 5, 0)
    assert types.accesses == 6 + 5 * 5
    before = meter.of(lambda: snapshot(host.options()))
    instances = _one_more(before, grow((24,), 1, 10), 10)
    # Its link, IOMMU group, character devices, type and string.
    assert (instances.accesses, instances.trips) == ((11 + 10 * 5) / 10, 0)


def test_nothing_is_looked_up_before_it_is_read(host: t.Any) -> None:
    """One open, one read, one close: a look before would run the driver no less, and tell of another moment."""
    calls: t.List[str] = []
    real = {name: getattr(os, name) for name in ("open", "read", "close", "stat", "lstat", "access")}

    def traced(name: str) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any, **keys: t.Any) -> t.Any:
            calls.append(name)
            return real[name](*arguments, **keys)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, traced(name))
        _sysfs.HANDLERS["read"](str(host.sys / PARENT_PATH / "vendor"))
    assert calls == ["open", "read", "close"]
