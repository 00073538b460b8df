# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every code that a stage may emit has a sentence."""

from __future__ import annotations

import ast
import inspect
import itertools
import re

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _reasons, _verdict


def codes(record: str, field: str) -> list[str]:
    """Read the codes from the documentation of a contract's field, which lists them after a colon."""
    tree = ast.parse(inspect.getsource(_model))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == record)
    for node, following in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == field:
            text = ast.literal_eval(following.value) if isinstance(following, ast.Expr) else ""
            return re.findall(r"[a-z_]+", text.partition("code")[2].partition(":")[2].partition(".")[0])
    raise AssertionError(f"{record}.{field} is gone")


ATTRIBUTE = codes("Attribute", "reason")
VERDICT = codes("Verdict", "reason")
FINDING = codes("Finding", "kind")
STATUSES = ["unsupported", "unknown", "invalid"]


def test_the_codes_are_found() -> None:
    assert {"absent", "hung", "not_ascii"} <= set(ATTRIBUTE)
    assert {"errno", "vendor", "not_probed", "absent"} <= set(VERDICT)
    assert {"uuid_clash", "hung", "excluded"} <= set(FINDING)


@pytest.mark.parametrize("code", ATTRIBUTE)
def test_attribute_reasons(code: str) -> None:
    assert code in _reasons.READING


@pytest.mark.parametrize("code", VERDICT)
def test_verdict_reasons(code: str) -> None:
    assert code in _reasons.PROBING


@pytest.mark.parametrize("kind", FINDING)
def test_finding_kinds(kind: str) -> None:
    assert kind in _reasons.FINDINGS


@pytest.mark.parametrize("code", [*ATTRIBUTE, *STATUSES])
@pytest.mark.parametrize("side", ["source", "target"])
def test_what_the_rules_of_a_pair_emit_for_a_node_that_gives_no_string(side: str, code: str) -> None:
    bad = _model.Attribute(
        status="unknown", value=None, reason=None if code in STATUSES else code, errno=None, raw=None
    )
    good = _model.Attribute(status="ok", value="v", reason=None, errno=None, raw=None)
    pair = (bad, good) if side == "source" else (good, bad)
    answer = _verdict.judge(*pair, "ok", lambda _string: _verdict.NOT_ASKED)
    assert answer.reason in _reasons.REASONS


@pytest.mark.parametrize("answer", [_verdict.NOT_ASKED, _verdict.IN_USE, _verdict.EXPIRED, _verdict.NO_DEVICE])
def test_answers_without_a_driver(answer: _verdict.Answer) -> None:
    assert answer.reason in _reasons.REASONS


def test_a_code_without_a_sentence_is_shown_and_not_hidden() -> None:
    assert _reasons.sentence("new_code", "EIO") == "reason new_code (EIO)"


@pytest.mark.parametrize(
    "one", [*_reasons.REASONS.values(), *_reasons.FINDINGS.values()], ids=lambda one: one.says.replace(" ", "_")
)
def test_sentences_are_clauses_and_advice_is_a_sentence(one: _reasons.Sentence) -> None:
    assert one.says == one.says.strip()
    assert not one.says.endswith(".")
    assert one.do is None or one.do.endswith(".")
