# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of mdevctl that are not as this run, or an earlier one, left them."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _mdevs
from ansible_collections.vfio.migration.tests.integration.simulated.test_crash import MDEVCTL
from ansible_collections.vfio.migration.tests.integration.simulated.test_instances import (
    CARD,
    HELD,
    IDLE,
    ONE,
    OTHER,
    TWO,
    Host,
    actions,
    host,
    running,
    uuid,
    verdicts,
    wish,
)

__all__ = ["host", "running"]

ATTRIBUTES = [{"name": "first", "value": "7"}]


class Kept:
    """The folder of an mdevctl that is nothing but a folder."""

    def __init__(self, program: pathlib.Path) -> None:
        self.program = program
        self.folder = program.parent / "defined"

    def put(self, name: str, parent: str = CARD, **definition: t.Any) -> None:
        text = json.dumps({"mdev_type": ONE, "start": "auto", "attrs": [], **definition})
        (self.folder / f"{name}.{parent}.json").write_text(text)

    def get(self, name: str, parent: str = CARD) -> dict[str, t.Any]:
        return dict(json.loads((self.folder / f"{name}.{parent}.json").read_text()))

    def move(self, name: str) -> None:
        (self.folder / f"{name}.{CARD}.json").rename(self.folder / f"{name}.{OTHER}.json")

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def fails_after(self, call: str) -> None:
        """It does what it is told, and reports failure."""
        self.program.write_text(MDEVCTL + f"if [ $1 = {call} ]; then echo oops >&2; exit 1; fi\n")


@pytest.fixture
def kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    program = tmp_path / "bin" / "mdevctl"
    (program.parent / "defined").mkdir(parents=True)
    program.write_text(MDEVCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return Kept(program)


@pytest.mark.fault("C13")
@pytest.mark.parametrize("call", ["define", "undefine"])
def test_what_took_effect_is_done_whatever_was_reported(host: Host, kept: Kept, call: str) -> None:
    kept.fails_after(call)
    assert actions(host.run(wish(), persist=True)) == [("created", None)]
    assert kept.names() == [f"{uuid(1)}.{CARD}.json"]
    back = host.absent()
    assert (actions(back), back.ledger, kept.names()) == ([("removed", None)], [], [])


@pytest.mark.fault("C13")
def test_a_definition_of_a_workload_that_failed_is_taken_back(host: Host, kept: Kept) -> None:
    report = host.run(wish(1), wish(2, accepts="nonsense"), persist=True)
    assert (verdicts(report)[0][1], report.ledger, kept.names(), host.there()) == (False, [], [], set())


@pytest.mark.fault("C13", "C19")
@pytest.mark.parametrize("spoil", [lambda kept: kept.move(uuid(1)), lambda kept: kept.put(uuid(1), mdev_type=TWO)])
def test_what_somebody_defined_since_stays_and_holds_nothing_up(
    host: Host, kept: Kept, spoil: t.Callable[[Kept], None]
) -> None:
    host.run(wish(), persist=True)
    spoil(kept)
    before = kept.names()
    back = host.absent()
    assert (actions(back), back.ledger, kept.names()) == ([("removed", None)], [], before)


@pytest.mark.fault("C13", "C19")
def test_the_same_uuid_on_another_parent_is_not_undefined_with_ours(host: Host, kept: Kept) -> None:
    host.run(wish(), persist=True)
    kept.put(uuid(1), OTHER)
    assert (actions(host.absent()), kept.names()) == ([("removed", None)], [f"{uuid(1)}.{OTHER}.json"])


@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"start": "manual", "attrs": [{"first": "7"}]}, "with start: manual, so it would not come back by itself"),
        ({"attrs": [{"first": "8"}]}, "with other attributes: first=8"),
        ({"attrs": []}, "with other attributes: none"),
    ],
)
def test_a_definition_that_brings_back_something_else_is_refused(
    host: Host, kept: Kept, definition: dict[str, t.Any], message: str
) -> None:
    kept.put(uuid(1), **definition)
    report = host.run(wish(attributes=ATTRIBUTES), persist=True)
    assert actions(report) == [("refused", "defined_differently")]
    assert message in (report.workloads[0]["msg"] or "")
    assert (report.ledger, host.there()) == ([], set())


def test_a_definition_that_is_just_so_is_somebody_elses_and_stays(host: Host, kept: Kept) -> None:
    kept.put(uuid(1), attrs=[{"first": "7"}])
    assert actions(host.run(wish(attributes=ATTRIBUTES), persist=True)) == [("created", None)]
    assert (actions(host.absent()), kept.names()) == ([("removed", None)], [f"{uuid(1)}.{CARD}.json"])


def test_what_somebody_defined_is_not_there_to_be_taken(host: Host, kept: Kept) -> None:
    kept.put(IDLE)
    assert actions(host.run(wish(), reuse=True)) == [("created", None)]


def test_mdevctl_that_cannot_tell_what_is_defined_leaves_nothing_to_be_taken(host: Host, kept: Kept) -> None:
    kept.program.write_text("#!/bin/sh\nexit 3\n")
    assert actions(host.run(wish(), reuse=True)) == [("refused", "mdevctl")]
    assert host.there() == set()


def test_free_instances_are_looked_for_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, real = [], _mdevs.Mdevs.holders

    def holders(self: _mdevs.Mdevs, instances: t.Any, *more: t.Any) -> t.Any:
        looks.append([instance.uuid for instance in instances])
        return real(self, instances, *more)

    monkeypatch.setattr(_mdevs.Mdevs, "holders", holders)
    host.run(wish(1, "vm1"), wish(2, "vm2"), wish(3, "vm3"), reuse=True)
    assert looks.count([HELD, IDLE]) == 1
