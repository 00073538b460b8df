# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads -> their instances on this host, all of them or none, and back.

Every change is announced in the ledger before it is made, so that whatever kills this process leaves a host that the
next run can finish or clean. Only what the ledger names is ever removed.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _claims, _devices, _mdevs, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Done, Report, WorkloadResult
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._maker import Maker
from ansible_collections.vfio.migration.plugins.module_utils._order import Order, Wish
from ansible_collections.vfio.migration.plugins.module_utils._taker import Taker


def run(options: _reader.Options, order: Order, ledger: str, absent: bool, check_mode: bool) -> Report:
    """Do what is ordered, workload by workload; ``ledger`` is its folder. Nothing is written in check mode. Raises
    ``LedgerError``."""
    keeper = LedgerFile(ledger)
    # A host that has nothing of ours is left without a ledger, too.
    if check_mode or (absent and not order.instances and not keeper.read().entries):
        return _run(options, order, keeper.read(), absent, True)
    with keeper:
        return _run(options, order, keeper, absent, False)


def _run(options: _reader.Options, order: Order, ledger: LedgerFile, absent: bool, check_mode: bool) -> Report:
    _check_boot_id(_reader.boot_id(options.proc_root), ledger)
    groups = _grouped(_from_ledger(order, ledger) if absent and not order.instances else order.instances, ledger)
    handlers = _claims.handlers(_mdevs.HANDLERS)
    # The time for looking at the host, and on top of it what each instance may take.
    deadline = options.deadline + order.bind_timeout * sum(len(wishes) for _name, wishes in groups)
    with Guard(handlers, options.read_timeout, deadline) as guard:
        reader = _reader.Reader(options, guard)
        mdevs = _mdevs.Mdevs(reader, order.bind_timeout, _claims.Claims(ledger.folder))
        keeper = (Taker if absent else Maker)(mdevs, ledger, order, check_mode)
        before = ledger.entries
        done = keeper.run(groups)
        return _report(reader, order, done, ledger, ledger.entries != before)


def _check_boot_id(boot_id: t.Optional[str], ledger: LedgerFile) -> None:
    """Without it nobody can tell what a reboot has ended, that is, what is ours. Raises ``LedgerError``."""
    nameless = [entry["uuid"] for entry in ledger.entries if entry["boot_id"] is None]
    if boot_id is None and ledger.entries:
        raise LedgerError(
            "the boot id of the host cannot be read, so what the ledger names may be older than the last boot, and "
            "nothing was touched; see that /proc/sys/kernel/random/boot_id can be read, and run again"
        )
    if nameless:
        raise LedgerError(
            "the ledger does not say in which boot instance %s was made; remove that by hand if it is there, take its "
            "line out of the ledger, and run again" % ", ".join(nameless)
        )


def _from_ledger(order: Order, ledger: LedgerFile) -> t.List[Wish]:
    """Everything of the plan, or all that is ours; of the named workloads, if any are named."""
    return [
        Wish(entry["uuid"], None, None, entry["workload"], [], None)
        for entry in ledger.entries
        if (order.plan is None or entry["plan"] == order.plan)
        and (order.workloads is None or entry["workload"] in order.workloads)
    ]


def _grouped(wishes: t.Sequence[Wish], ledger: LedgerFile) -> t.List[t.Tuple[t.Optional[str], t.List[Wish]]]:
    groups: t.Dict[t.Tuple[t.Optional[str], str], t.List[Wish]] = {}
    for wish in wishes:
        entry = ledger.get(wish.uuid) or ledger.taken_for(wish.uuid)
        workload = wish.workload or (entry["workload"] if entry is not None else None)
        groups.setdefault((workload, "" if workload is not None else wish.uuid), []).append(wish)
    return [(workload, together) for (workload, _uuid), together in groups.items()]


def _report(reader: _reader.Reader, order: Order, done: t.Sequence[Done], ledger: LedgerFile, touched: bool) -> Report:
    jobs = [job for one in done for job in one.jobs]
    standing = {job.found.path for job in jobs if job.found is not None and job.action != "removed"}
    try:
        devices = {device["id"]: device for device in _devices.devices_at(reader, sorted(standing))}
    except WorkerError:
        # What was done is worth more than how it looks.
        devices = {}
    workloads: t.List[WorkloadResult] = [
        {
            "workload": one.workload,
            "ok": one.ok,
            "reason": one.reason,
            "msg": one.msg,
            "instances": [job.result(devices.get(job.uuid)) for job in one.jobs],
        }
        for one in done
    ]
    owners = ["%s: %s" % (order.plan, one.workload) for one in done for _job in one.jobs]
    return Report(
        changed=touched or any(job.changes and job.action not in ("refused", "rolled_back") for job in jobs),
        workloads=workloads,
        ledger=ledger.entries,
        before=[place for job in jobs for place in job.places_before()],
        after=[place for job, owner in zip(jobs, owners) for place in job.places_after(owner)],
    )
