# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _claims, _mdevctl
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerFile

UUID = "6f7bd1a2-9c43-4f4c-8c53-0d8f6d3c2b10"
PARENT = "0000:3b:00.0"


@pytest.fixture
def guard() -> t.Iterator[Guard]:
    with Guard(_claims.handlers(_mdevctl.HANDLERS), 5.0, 20.0) as running:
        yield running


@pytest.fixture
def claim(tmp_path: t.Any) -> t.Iterator[_claims.Claim]:
    with LedgerFile(str(tmp_path)):
        yield _claims.Claims(str(tmp_path)).of(UUID)


@pytest.fixture
def program(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """Puts a script in mdevctl's place; it finds itself in the folder $HERE."""

    def put(script: str) -> None:
        path = tmp_path / "mdevctl"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return put


def test_definitions_are_read_by_parent_and_uuid(program: t.Callable[[str], None], guard: Guard) -> None:
    one = {"mdev_type": "nv-1", "start": "auto", "attrs": []}
    other = {"mdev_type": "nv-1", "start": "manual", "attrs": [{"a": "1"}, {"a": "2"}]}
    listing = [{PARENT: [{UUID.upper(): one}], "matrix": [{UUID: other}]}, {"empty": []}]
    program("echo '%s'" % json.dumps(listing))
    assert _mdevctl.definitions(guard) == {
        (PARENT, UUID): _mdevctl.Definition(PARENT, "nv-1"),
        ("matrix", UUID): _mdevctl.Definition("matrix", "nv-1", "manual", (("a", "1"), ("a", "2"))),
    }


KEPT = json.dumps([{PARENT: [{UUID: {"mdev_type": "nv-1", "start": "auto", "attrs": [{"a": "1"}]}}]}])


@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    ("kept", "value", "defined", "undefined"),
    [(KEPT, "1", True, False), (KEPT, "2", False, False), ("[]", "1", False, True)],
)
def test_what_is_kept_counts_and_not_what_the_call_reported(
    program: t.Callable[[str], None],
    guard: Guard,
    claim: _claims.Claim,
    kept: str,
    value: str,
    defined: bool,
    undefined: bool,
) -> None:
    program("if [ $1 = list ]; then echo '%s'; else echo oops >&2; exit 1; fi" % kept)
    definition = _mdevctl.Definition(PARENT, "nv-1", "auto", (("a", value),))
    calls: t.List[t.Tuple[bool, t.Callable[[], None]]] = [
        (defined, lambda: _mdevctl.define(guard, UUID, definition, claim)),
        (undefined, lambda: _mdevctl.undefine(guard, UUID, PARENT, claim)),
    ]
    for done, call in calls:
        with contextlib.nullcontext() if done else pytest.raises(_mdevctl.MdevctlError, match="oops"):
            call()


def test_definition_carries_the_attributes_in_order(
    program: t.Callable[[str], None], guard: Guard, claim: _claims.Claim, tmp_path: t.Any
) -> None:
    program('echo "$*" > "$HERE/words"; cat > "$HERE/text"')
    attributes = [{"name": "assign_adapter", "value": "5"}, {"name": "assign_adapter", "value": "6"}]
    definition = _mdevctl.wanted(PARENT, "nv-1", t.cast("t.Any", attributes))
    _mdevctl.define(guard, UUID, definition, claim)
    assert (tmp_path / "words").read_text().split() == [
        *("define", "--uuid", UUID, "--parent", PARENT),
        *("--jsonfile", "/dev/stdin"),
    ]
    assert json.loads((tmp_path / "text").read_text()) == {
        "mdev_type": "nv-1",
        "start": "auto",
        "attrs": [{"assign_adapter": "5"}, {"assign_adapter": "6"}],
    }


WORDS: t.List[t.Tuple[str, str]] = [
    ("echo 'no such thing' >&2; exit 1", "mdevctl list failed: no such thing"),
    ("exit 3", "mdevctl list failed: exit code 3"),
    ("echo nonsense", "mdevctl list gave something else than its JSON"),
    ("echo '[1]'", "mdevctl list gave something else than its JSON"),
    ('echo \'[{"p": [{"u": {}}]}]\'', "mdevctl list gave something else than its JSON"),
]


@pytest.mark.parametrize(("script", "message"), WORDS)
def test_what_mdevctl_gets_wrong_is_said(
    program: t.Callable[[str], None], guard: Guard, script: str, message: str
) -> None:
    program(script)
    with pytest.raises(_mdevctl.MdevctlError, match=message):
        _mdevctl.definitions(guard)


def test_nothing_defined(program: t.Callable[[str], None], guard: Guard) -> None:
    program("echo '[]'")
    assert _mdevctl.definitions(guard) == {}


def test_missing_mdevctl_names_the_role(guard: Guard, tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(_mdevctl.MdevctlError, match=r"vfio\.migration\.bootstrap"):
        _mdevctl.definitions(guard)


def test_mdevctl_that_hangs_is_ended(
    program: t.Callable[[str], None],
    guard: Guard,
    claim: _claims.Claim,
    tmp_path: t.Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not do later what was given up on, not even if it is a child's child."""
    program('sleep 1; echo late > "$HERE/late"')
    monkeypatch.setattr(_mdevctl, "PATIENCE", 0.2)
    guard._timeout = 0.2
    with pytest.raises(_mdevctl.MdevctlError, match=r"mdevctl undefine gave no answer \(hung\)"):
        _mdevctl.undefine(guard, UUID, PARENT, claim)
    time.sleep(1)
    assert claim.holder() is None
    assert not (tmp_path / "late").exists()
