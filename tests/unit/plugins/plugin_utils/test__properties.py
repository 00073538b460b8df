# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets: the folded matrix against a checker that walks every pair."""

from __future__ import annotations

import json
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils._evidence import merge
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.plugins.plugin_utils._requests import probe_requests
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import brute_force, fleet_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.brute_force import Spot

Facts = dict[str, t.Any]

NOW = fleet_data.NOW
OLD = "2026-11-20T00:00:00Z"
STRINGS = ["a", "{{ 1 + 1 }}"]
VENDORS = ["pci:1"] * 6 + ["pci:2", "pci:2", None]
FUTURE = "2026-11-22T13:00:00Z"
SPEAKS = st.sampled_from([*STRINGS * 5, None, "!ENODEV", "?hung", "~empty"])
FEW = settings(max_examples=200)


@st.composite
def hosts(draw: st.DrawFn, number: int) -> Facts:
    parts: list[t.Any] = []
    places: list[tuple[tuple[str, str], str | None]] = []
    for address in draw(st.sampled_from([[], ["p1"], ["p1"], ["p1", "p2"]])):
        types = [
            fleet_data.mdev_type(name, draw(SPEAKS), draw(st.sampled_from([None, 0, 1, 3])))
            for name in draw(st.sampled_from([["t1"], ["t1"], ["t1", "t2"]]))
        ]
        vendor, state = draw(st.sampled_from(VENDORS)), draw(st.sampled_from(["ok"] * 6 + ["hung", "gone", "unknown"]))
        parts.append(fleet_data.parent(address, *types, vendor=vendor, state=t.cast("t.Any", state)))
        places += [((address, each["id"]), vendor) for each in types]
    for index in range(draw(st.integers(0, 5))):
        place, vendor = draw(st.sampled_from([*places, (None, VENDORS[0]), (("lost", "t1"), VENDORS[0])]))
        in_use = draw(st.sampled_from([True, True, False, None]))
        speaks = draw(SPEAKS)
        half_created = fleet_data.attribute(speaks)["status"] != "ok" and draw(st.booleans())
        there = (place[0], None) if place and half_created else place
        parts.append(fleet_data.device(f"d{number}-{index}", speaks, there, in_use, vendor))
    facts = fleet_data.host(*parts)
    verdicts = draw(st.lists(said(brute_force.spots({"h": facts})), max_size=16)) if parts else []
    return fleet_data.host(*parts, verdicts=verdicts)


@st.composite
def said(draw: st.DrawFn, spots: list[Spot]) -> dict[str, t.Any]:
    """An answer to a node of this host, mostly a proper one."""
    if not spots:
        spots = [Spot("h", "p9", "t9", None, "mdev", "pci:1")]
    spot = draw(st.sampled_from(spots))
    vendor = draw(st.sampled_from([spot.vendor] * 7 + ["pci:1", "pci:2"]))
    asking = draw(st.sampled_from([spot.type] * 6 + ["t1", "t2"])) if spot.device is None else None
    return fleet_data.verdict(
        (spot.parent, spot.type, spot.device),
        draw(st.sampled_from(STRINGS)),
        draw(st.sampled_from(["yes", "yes", "no", "no", "?busy", "?too_long", "?not_probed"])),
        vendor,
        asking,
        draw(st.sampled_from([fleet_data.DRIVEN] * 5 + [("boot-0", "drv", "1.0"), ("boot-1", "drv", "0.9")])),
        draw(st.sampled_from([fleet_data.HOUR_AGO] * 5 + [OLD, OLD, FUTURE])),
    )


@st.composite
def fleets(draw: st.DrawFn) -> Facts:
    return {f"h{number}": draw(hosts(number)) for number in range(draw(st.integers(1, 4)))}


def members(classes: t.Iterable[t.Any]) -> dict[Spot, str]:
    return {
        Spot(each["host"], each["parent"], one["type"], each["device"], one["kind"], one["vendor"]): one["id"]
        for one in classes
        for each in one["members"]
    }


@pytest.mark.fault("R21", "P7", "P8", "P9", "P11", "P13")
@FEW
@given(fleets())
def test_every_pair_gets_the_answer_of_the_rules(facts: Facts) -> None:
    matrix = pairings(facts, fleet_data.DAY, NOW, "all")
    answers = {(pair["source"], pair["target"]): pair for pair in matrix["pairings"]}
    sources, targets = members(matrix["sources"]), members(matrix["targets"])
    everything = brute_force.spots(facts)
    assert sorted(map(repr, sources)) == sorted(map(repr, targets)) == sorted(map(repr, everything))
    for source in everything:
        for target in everything:
            pair = answers.get((sources[source], targets[target]))
            expected, warnings = brute_force.forward(facts, source, target, fleet_data.DAY, NOW)
            if pair is None:
                assert (expected, warnings) == (("incompatible", None), set())
                continue
            back = brute_force.back(facts, source, target, fleet_data.DAY, NOW)
            if expected[0] == "compatible" and back == "incompatible":
                warnings.add("no_way_back")
            got = (pair["verdict"], pair["reason"]), pair["way_back"], set(pair["warnings"])
            assert got == (expected, back, warnings), (source, target)


@st.composite
def known_fleets(draw: st.DrawFn) -> Facts:
    """The same devices as some time ago, but some were taken into use since, or given back."""
    facts = draw(fleets())
    for own in facts.values():
        for one in own["vfio_migration"]["devices"]:
            one["in_use_by"] = draw(st.sampled_from([one["in_use_by"], [], [fleet_data.HOLDER]]))
        known = own.get("vfio_migration_verdicts", {"verdicts": []})
        # Of one question a fact cache holds one answer.
        asked = ("scope", "parent", "type", "device", "string", "vendor", "source_type")
        known["verdicts"] = list({tuple(one[key] for key in asked): one for one in known["verdicts"]}.values())
    return facts


@pytest.mark.fault("P7", "P12")
@FEW
@given(known_fleets())
def test_nothing_is_expired_once_everything_was_answered(facts: Facts) -> None:
    """What was known before is kept the way it is kept between two runs."""
    for host, requests in probe_requests(facts, fleet_data.DAY, NOW).items():
        latest = [
            fleet_data.verdict(
                (one["parent"], one["type"], one["device"]),
                one["string"],
                "yes",
                one["vendor"],
                one["source_type"],
            )
            for one in requests
        ]
        own = facts[host]
        answered = fleet_data.host(verdicts=latest)["vfio_migration_verdicts"]
        own["vfio_migration_verdicts"] = merge(
            own.get("vfio_migration_verdicts"), answered, own["vfio_migration"], _model.Timestamp(NOW)
        )
    assert probe_requests(facts, fleet_data.DAY, NOW) == {}
    matrix = pairings(facts, fleet_data.DAY, NOW, "all")
    assert [one for one in matrix["pairings"] if one["reason"] == "expired" or "expired" in one["warnings"]] == []
    assert "expired" not in {finding["kind"] for finding in matrix["findings"]}


def without_verdicts(facts: Facts) -> Facts:
    return {name: {"vfio_migration": own["vfio_migration"]} for name, own in facts.items()}


@pytest.mark.fault("P12", "R21")
@FEW
@given(fleets())
def test_each_node_is_asked_each_string_of_the_others_once(facts: Facts) -> None:
    facts = without_verdicts(facts)
    asked = [
        (host, one["parent"], one["type"], one["device"], one["string"])
        for host, requests in probe_requests(facts, fleet_data.DAY, NOW).items()
        for one in requests
    ]
    assert len(asked) == len(set(asked))
    assert set(asked) == brute_force.requests(facts)


@pytest.mark.fault("P12")
@FEW
@given(fleets(), st.sampled_from(["yes", "no", "?too_long"]))
def test_once_answered_nothing_is_asked_again_and_nothing_is_left_unasked(facts: Facts, answer: str) -> None:
    facts = without_verdicts(facts)
    for host, requests in probe_requests(facts, fleet_data.DAY, NOW).items():
        facts[host] = fleet_data.host(
            *facts[host]["vfio_migration"]["parents"],
            *facts[host]["vfio_migration"]["devices"],
            verdicts=[
                fleet_data.verdict(
                    (one["parent"], one["type"], one["device"]),
                    one["string"],
                    answer,
                    one["vendor"],
                    one["source_type"],
                )
                for one in requests
            ],
        )
    assert probe_requests(facts, fleet_data.DAY, NOW) == {}
    matrix = pairings(facts, fleet_data.DAY, NOW)
    classes: list[t.Any] = [*matrix["sources"], *matrix["targets"]]
    homes = {one["id"]: {each["host"] for each in one["members"]} for one in classes}
    for pair in matrix["pairings"]:
        elsewhere = len(homes[pair["source"]] | homes[pair["target"]]) > 1
        assert pair["reason"] != "not_asked" or not elsewhere


@FEW
@given(fleets(), st.randoms(use_true_random=False))
def test_order_and_later_changes_of_the_input_do_not_matter(facts: Facts, chance: random.Random) -> None:
    shuffled = fleet_data.mixed(facts, chance)
    for stage in (probe_requests, pairings):
        before = stage(facts, fleet_data.DAY, NOW)
        text = json.dumps(before)
        assert json.dumps(stage(shuffled, fleet_data.DAY, NOW)) == text
    assert json.loads(text) == before
