# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published JSON schemas are current, and agree with what the collection itself checks."""

from __future__ import annotations

import copy
import json
import typing as t

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _ledger, _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _pairing, _plan, _report
from ansible_collections.vfio.migration.tests.benchmarks import _fleets
from ansible_collections.vfio.migration.tests.tools import schema
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data, plan_data

UUID = "11111111-0000-4000-8000-000000000001"
CHECKER = jsonschema.Draft202012Validator(schema.schema(_model.Plan))
EXAMPLES = sorted((schema.FOLDER.parents[1] / "tests" / "plans").glob("*.json"))


def agreed(plan: object) -> bool:
    """Whether both take it."""
    taken = bool(CHECKER.is_valid(plan))
    errors = _contracts.check(_model.Plan, _plan.filled(plan), "plan")
    assert taken == (not errors), errors or [error.message for error in CHECKER.iter_errors(plan)]
    return taken


@pytest.mark.parametrize("contract", schema.CONTRACTS.values(), ids=schema.CONTRACTS)
def test_the_published_schema_is_current(contract: type) -> None:
    assert schema.path(contract).read_text(encoding="ascii") == schema.rendered(contract), "run ./dev schema"
    jsonschema.Draft202012Validator.check_schema(schema.schema(contract))


def test_every_field_of_a_report_says_what_it_means() -> None:
    fields = schema.schema(_report.Contents)["properties"]
    assert set(fields) == set(t.get_type_hints(_report.Contents))
    own = set(fields) - set(t.get_type_hints(_model.Pairings))
    assert all("description" in fields[name] for name in own)
    assert fields["partial"]["description"].startswith("True when a host")


def test_a_report_passes_its_schema_and_its_contract() -> None:
    report = page_data.large(6)
    contents = json.loads(json.dumps(_report.contents(report, {}, {})))
    broken = {"partial": "yes", "capacity": [{}], "plan": 1, "devices": [{"host": 1}], "facts": None}
    broken["schema_version"] = 7
    checker = jsonschema.Draft202012Validator(schema.schema(_report.Contents))
    assert list(checker.iter_errors(contents)) == []
    assert _contracts.check(_report.Contents, contents, "report") == []
    for key, value in broken.items():
        assert not checker.is_valid({**contents, key: value}), key
        assert _contracts.check(_report.Contents, {**contents, key: value}, "report"), key


def samples() -> dict[str, t.Any]:
    """One value of every contract but the plan and the report, which have tests of their own."""
    facts = _fleets.facts(_fleets.Spec(6, 0.97, 0.05, "all", 6))
    host = facts[min(facts)]
    entry: dict[str, t.Any] = {"uuid": UUID, "wished": UUID, "parent": "p1", "type": "t1", "plan": "rack7"}
    entry |= {"workload": "vm1", "state": "created", "persist": False, "reused": False, "attributes": []}
    entry |= {"boot_id": None, "time": _fleets.TIME}
    return {
        "snapshot": host["vfio_migration"],
        "verdicts": host["vfio_migration_verdicts"],
        "pairings": _pairing.pairings(facts, _fleets.MAX_AGE, _fleets.TIME),
        "ledger": json.loads(_ledger.dump([t.cast("_model.LedgerEntry", entry)])),
    }


SAMPLES = samples()


def test_every_contract_has_a_sample() -> None:
    assert {*SAMPLES, "plan", "report"} == set(schema.CONTRACTS)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_pass_both_and_broken_ones_neither(name: str) -> None:
    contract, sample = schema.CONTRACTS[name], json.loads(json.dumps(SAMPLES[name]))
    checker = jsonschema.Draft202012Validator(schema.schema(contract))
    assert list(checker.iter_errors(sample)) == []
    assert _contracts.check(contract, sample, name) == []
    for key in t.get_type_hints(contract):
        for broken in ({**sample, key: {"a": 1}}, {one: value for one, value in sample.items() if one != key}):
            assert not checker.is_valid(broken), key
            assert _contracts.check(contract, broken, name), key


def test_every_field_of_a_move_is_there_with_what_it_means() -> None:
    device = schema.schema(_model.Plan)["properties"]["moves"]["items"]["properties"]["devices"]["items"]
    assert set(device["required"]) == set(t.get_type_hints(_model.PlanDevice)) - {"attributes", "evidence"}
    assert device["properties"]["parent"]["description"] == "Parent on the target host."


@pytest.mark.parametrize("change", plan_data.GOOD.values(), ids=plan_data.GOOD.keys())
def test_good_plans_pass_both(change: plan_data.Change) -> None:
    assert agreed(plan_data.changed(change))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_plans_pass_both(path: t.Any) -> None:
    assert agreed(json.loads(path.read_text()))


def test_the_plan_of_the_guide_is_a_plan() -> None:
    guide = (schema.FOLDER.parent / "docsite" / "rst" / "guide_targets.rst").read_text(encoding="utf-8")
    block = guide.partition(".. code-block:: json\n")[2].partition("\n\n``source``")[0]
    assert agreed(json.loads(block))
    assert _plan.load(json.loads(block))["id"] == "rack7"


@pytest.mark.fault("L9", "L10")
@pytest.mark.parametrize("change", [each[0] for each in plan_data.BROKEN.values()], ids=plan_data.BROKEN.keys())
def test_broken_plans_pass_neither(change: plan_data.Change) -> None:
    assert not agreed(plan_data.changed(change))


def places(value: object, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Every place in a plan."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places(item, (*path, key))


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.just([]), st.just({}), st.sampled_from("./;`\n")
)


@given(place=st.sampled_from(list(places(plan_data.two()))), junk=JUNK)
@pytest.mark.fault("L9")
def test_both_think_the_same_of_any_junk_anywhere(place: tuple[t.Any, ...], junk: object) -> None:
    plan = copy.deepcopy(plan_data.two())
    inner: t.Any = plan
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    agreed(plan)
