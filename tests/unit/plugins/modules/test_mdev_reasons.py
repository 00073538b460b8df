# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason code that the module mdev can return is documented, and no other is."""

from __future__ import annotations

import ast
import inspect
import re
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.plugins.module_utils import (
    _instances,
    _jobs,
    _keeper,
    _maker,
    _mdevs,
    _probe,
    _reader,
    _taker,
)
from ansible_collections.vfio.migration.plugins.modules import mdev

FILES = (_instances, _jobs, _keeper, _maker, _mdevs, _taker)

# Where a code is handed on instead of written down: what may come that way.
NOT_READ = {"hung", "deadline", "permission", "gone", "errno"}
HANDED_ON: t.Dict[str, t.Set[str]] = {
    "problem.reason": set(),  # that of another MdevError
    "outcome.state": {"hung", "deadline"},
    "reason": {"busy", "not_removed", *NOT_READ},
    'result.reason or "unknown"': {
        *("unknown", "short_write", "hung", "deadline", "not_probed", "busy", "gone", "unreadable"),
        *("absent", "empty", "not_ascii", "too_long"),
    },
}


def _codes(tree: ast.AST) -> t.Iterator[ast.expr]:
    """What is given as a reason: to an MdevError, in an assignment to ``.reason``, or as ``reason=``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MdevError":
            yield node.args[0]
        elif isinstance(node, ast.Call):
            yield from (word.value for word in node.keywords if word.arg == "reason")
        elif isinstance(node, ast.Assign):
            yield from _assigned(node.targets[0], node.value)


def _assigned(target: ast.expr, value: ast.expr) -> t.Iterator[ast.expr]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts):
            yield from _assigned(one, its)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.IfExp):
        yield from _assigned(target, value.body)
        yield from _assigned(target, value.orelse)
    elif isinstance(target, ast.Attribute) and target.attr == "reason":
        yield value


def given() -> t.Set[str]:
    """All codes in the source."""
    found: t.Set[str] = set()
    for file in FILES:
        source = inspect.getsource(file)
        for code in _codes(ast.parse(source)):
            if isinstance(code, ast.Constant):
                found.update([str(code.value)] if code.value is not None else [])
                continue
            text = ast.get_source_segment(source, code) or ""
            assert text in HANDED_ON, "%s gives %s as a reason: which codes are that?" % (file.__name__, text)
            found.update(HANDED_ON[text])
    return found


def documented() -> t.Set[str]:
    workload = yaml.safe_load(mdev.RETURN)["workloads"]["contains"]
    return set(re.findall(r"V\((\w+)\)", " ".join(workload["reason"]["description"])))


def test_every_reason_is_documented_and_no_other() -> None:
    assert documented() == given()


CHOOSERS = [
    # A device that was just made is asked whatever its vendor is.
    (
        'result.reason or "unknown"',
        (_probe._result, _probe._refusal),
        r'Result\("unknown", "(\w+)"',
        {"vendor_unknown"},
    ),
    ("reason", (_reader.reason,), r'"(\w+)"', set()),
    ("reason", (_mdevs.Mdevs.remove,), r'reason = "(\w+)"', set()),
]


@pytest.mark.parametrize(("text", "functions", "pattern", "never"), CHOOSERS)
def test_what_is_handed_on_is_all_that_can_come_that_way(
    text: str, functions: t.Tuple[t.Callable[..., t.Any], ...], pattern: str, never: t.Set[str]
) -> None:
    chosen = {code for function in functions for code in re.findall(pattern, inspect.getsource(function))}
    assert chosen
    assert chosen - never <= HANDED_ON[text]


def test_the_listing_sees_all_ways_to_give_one() -> None:
    source = """
raise MdevError("a", "why")
job.action, job.reason = "refused", "b"
job.action, job.reason = ("removed", "c") if gone else ("none", None)
done._replace(reason="d")
"""
    assert {ast.literal_eval(code) for code in _codes(ast.parse(source))} == {"a", "b", "c", None, "d"}
