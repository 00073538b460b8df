# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity models: where each comes from, what it gives, and that none promises more than there is."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Model, derive
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Override
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.cards import (
    MANY,
    Card,
    capacities,
    derived,
    fits,
    fleet,
    kind,
    override,
    shape,
)

Counts = dict[str, int]
OFTEN = settings(max_examples=100)

NVIDIA = {"a": "num_heads=4, framebuffer=5G, max_instance=8", "b": "framebuffer=10240M, max_instance=4"}
GVT = {
    "a": "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4",
    "b": "low_gm_size: 64MB\nhigh_gm_size: 384MB\nfence: 4\nresolution: 1024x768\nweight: 2",
}


class Case(t.NamedTuple):
    """What the first card gives."""

    name: str
    cards: list[Card]
    expected: tuple[str, str, Counts, Counts]
    driver: str | None = "drv"
    descriptions: t.Mapping[str, str] = {}
    overrides: t.Sequence[Override] = ()


EMPTY = {"a": 8, "b": 4}
TABLE = [
    Case("one type", [Card({"a": 3})], ("independent", "siblings", {"a": 3}, {"a": 3})),
    Case("one type, two leave", [Card({"a": 3}, {"a": 4}, {"a": 2})], ("independent", "siblings", {"a": 3}, {"a": 5})),
    Case("AP matrix", [Card({"a": 65536})], ("independent", "driver", {"a": MANY}, {"a": MANY}), "vfio_ap"),
    Case("nobody says", [Card(EMPTY)], ("unknown", "default", {"a": 8, "b": 4}, {"a": 8, "b": 4})),
    Case(
        "nobody says, and all numbers alike may be a counter or not",
        [Card({"a": 4, "b": 4})],
        ("unknown", "default", {"a": 4, "b": 4}, {"a": 4, "b": 4}),
    ),
    Case(
        "nobody says, one of two leaves",
        [Card({"a": 6, "b": 0}, {"a": 2}, {"a": 1})],
        ("unknown", "default", {"a": 6, "b": 0}, {"a": 7, "b": 0}),
    ),
    Case(
        "nobody says, all leave, nothing is known of the sibling",
        [Card({"a": 6, "b": 0}, {"a": 2}, {"a": 2})],
        ("unknown", "default", {"a": 6, "b": 0}, {"a": 8, "b": 0}),
    ),
    Case(
        "nobody says, all leave, another card is empty",
        [Card({"a": 6, "b": 0}, {"a": 2}, {"a": 2}), Card(EMPTY)],
        ("unknown", "default", {"a": 6, "b": 0}, {"a": 8, "b": 4}),
    ),
    Case(
        "an instance of no known type stays",
        [Card({"a": 6, "b": 0}, {"a": 1, "": 1}, {"a": 1}), Card(EMPTY)],
        ("unknown", "default", {"a": 6, "b": 0}, {"a": 7, "b": 0}),
    ),
    Case(
        "NVIDIA, all leave: the description says how many",
        [Card({"a": 6, "b": 0}, {"a": 2}, {"a": 2})],
        ("exclusive", "driver", {"a": 6, "b": 0}, {"a": 8, "b": 4}),
        "nvidia",
        NVIDIA,
    ),
    Case(
        "NVIDIA with two types at once mixes them",
        [Card({"a": 4, "b": 2}, {"a": 2, "b": 1}, {"b": 1})],
        ("shared_units", "description", {"a": 4, "b": 2}, {"a": 6, "b": 3}),
        "nvidia",
        NVIDIA,
    ),
    Case(
        "NVIDIA with two types at once whose numbers are not those of its memory",
        [Card({"a": 4, "b": 0}, {"a": 2, "b": 1})],
        ("unknown", "default", {"a": 4, "b": 0}, {"a": 4, "b": 0}),
        "nvidia",
        NVIDIA,
    ),
    Case(
        "GVT: the least of three resources",
        [Card({"a": 2, "b": 4}, {"a": 2}, {"a": 1})],
        ("vector", "description", {"a": 2, "b": 4}, {"a": 3, "b": 5}),
        "i915",
        GVT,
    ),
    Case(
        "GVT whose description nobody can read",
        [Card({"a": 2, "b": 4})],
        ("unknown", "default", {"a": 2, "b": 4}, {"a": 2, "b": 4}),
        "i915",
        {**GVT, "b": "low_gm_size: much"},
    ),
    Case(
        "mtty: one pool of ports",
        [Card({"mtty-1": 21, "mtty-2": 10}, {"mtty-1": 1, "mtty-2": 1}, {"mtty-2": 1})],
        ("shared_units", "driver", {"mtty-1": 21, "mtty-2": 10}, {"mtty-1": 23, "mtty-2": 11}),
        "mtty",
    ),
    Case(
        "mtty as the kernel shows it: a virtual parent without a link to its driver",
        [Card({"mtty-1": 5, "mtty-2": 2})],
        ("shared_units", "driver", {"mtty-1": 5, "mtty-2": 2}, {"mtty-1": 5, "mtty-2": 2}),
        None,
    ),
    Case(
        "the core's counter, seen at three fillings",
        [Card({"a": 3, "b": 3}, {"a": 1}, {"a": 1}), Card({"a": 2, "b": 2}, {"a": 1, "b": 1}), Card({"a": 4, "b": 4})],
        ("shared_units", "siblings", {"a": 3, "b": 3}, {"a": 4, "b": 4}),
    ),
    Case(
        "the same filling twice is one observation",
        [Card({"a": 3, "b": 3}, {"a": 1}), Card({"a": 3, "b": 3}, {"a": 1}), Card({"a": 4, "b": 4})],
        ("unknown", "default", {"a": 3, "b": 3}, {"a": 3, "b": 3}),
    ),
    Case(
        "a pool of units, seen at three fillings",
        [Card({"a": 6, "b": 3}, {"a": 2}), Card({"a": 6, "b": 3}, {"b": 1}), Card(EMPTY)],
        ("shared_units", "siblings", {"a": 6, "b": 3}, {"a": 6, "b": 3}),
    ),
    Case(
        "a card that keeps the sibling out spoils the pool for all alike",
        [
            Card({"a": 6, "b": 3}, {"a": 2}),
            Card({"a": 6, "b": 3}, {"b": 1}),
            Card(EMPTY),
            Card({"a": 7, "b": 0}, {"a": 1}),
        ],
        ("unknown", "default", {"a": 6, "b": 3}, {"a": 6, "b": 3}),
    ),
    Case(
        "a card of half the size spoils the pool for all alike",
        [Card({"a": 6, "b": 3}, {"a": 2}), Card({"a": 6, "b": 3}, {"b": 1}), Card(EMPTY), Card({"a": 4, "b": 2})],
        ("unknown", "default", {"a": 6, "b": 3}, {"a": 6, "b": 3}),
    ),
    Case(
        "the operator's pool",
        [Card({"a": 6, "b": 3}, {"a": 2}, {"a": 2})],
        ("shared_units", "operator", {"a": 6, "b": 3}, {"a": 8, "b": 4}),
        overrides=[override("shared_units", costs={"a": {"units": 1}, "b": {"units": 2}})],
    ),
    Case(
        "the operator's totals tell more than the numbers shown",
        [Card({"a": 2, "b": 3}, {"b": 1}, {"b": 1})],
        ("vector", "operator", {"a": 2, "b": 3}, {"a": 3, "b": 4}),
        overrides=[override("vector", costs={"a": {"x": 6}, "b": {"x": 4}}, totals={"x": 18})],
    ),
    Case(
        "the operator names the driver of a virtual parent, which has no link to it",
        [Card({"a-1": 6, "a-2": 3})],
        ("independent", "operator", {"a-1": 6, "a-2": 3}, {"a-1": 6, "a-2": 3}),
        None,
        overrides=[override("independent", driver="a")],
    ),
    Case(
        "the operator's pool against what the card shows",
        [Card({"a": 6, "b": 1}, {"a": 2})],
        ("unknown", "default", {"a": 6, "b": 1}, {"a": 6, "b": 1}),
        overrides=[override("shared_units", costs={"a": {"units": 1}, "b": {"units": 2}})],
    ),
    Case(
        "the operator's exclusive, with what an empty card takes",
        [Card({"a": 6, "b": 0}, {"a": 2}, {"a": 2})],
        ("exclusive", "operator", {"a": 6, "b": 0}, {"a": 8, "b": 4}),
        overrides=[override("exclusive", most={"b": 4})],
    ),
    Case(
        "the operator knows that the types do not share",
        [Card({"a": 6, "b": 4}, {"a": 2}, {"a": 2})],
        ("independent", "operator", {"a": 6, "b": 4}, {"a": 8, "b": 4}),
        overrides=[override("independent")],
    ),
    Case(
        "the first override that fits counts",
        [Card(EMPTY)],
        ("exclusive", "operator", {"a": 8, "b": 4}, {"a": 8, "b": 4}),
        overrides=[override("independent", host="h7"), override("exclusive", type="b"), override("independent")],
    ),
    Case(
        "a type that does not say how many fit has no seat",
        [Card({"a": None, "b": 4})],
        ("unknown", "default", {"b": 4}, {"b": 4}),
    ),
]


@pytest.mark.parametrize("case", TABLE, ids=[case.name for case in TABLE])
@pytest.mark.fault("C7")
def test_models(case: Case) -> None:
    rooms = derived(case.cards, case.driver, case.descriptions, case.overrides)
    assert shape(rooms[0]) == case.expected
    assert rooms[0].model.detail


def test_an_exclusive_parent_has_no_room_for_siblings_after_the_first_take() -> None:
    room = derived([Card(EMPTY)])[0]
    after = kind(room.model).take(room.left, 1)
    assert after is not None
    assert fits(room.model, after) == {"a": 0, "b": 3}


def test_units_of_a_pool_are_shared() -> None:
    room = derived([Card({"mtty-1": 5, "mtty-2": 2})], "mtty")[0]
    after = kind(room.model).take(room.left, 1)
    assert after is not None
    assert fits(room.model, after) == {"mtty-1": 3, "mtty-2": 1}


@pytest.mark.fault("R15")
def test_a_room_that_is_no_number_is_noted_and_neither_none_nor_endless() -> None:
    found = capacities([Card({"a": None, "b": 4}), Card({"a": 10**30, "b": 1})])
    assert [room.model.types for room in found.rooms.values()] == [("b",), ("b",)]
    assert [(note["item"], note["reason"]) for note in found.notes] == [
        ("hosts/h0", "room_unknown"),
        ("hosts/h1", "room_unknown"),
    ]
    assert "p1/a" in found.notes[0]["detail"]


def test_what_is_wrong_with_an_override_is_noted() -> None:
    pool = override("shared_units", costs={"a": {"units": 1}})
    found = capacities([Card(EMPTY), Card(EMPTY)], overrides=[pool, override("exclusive", driver="other")])
    assert [(note["item"], note["reason"]) for note in found.notes] == [
        ("hosts/h0", "no_cost"),
        ("hosts/h1", "no_cost"),
        ("capacity[1]", "capacity"),
    ]
    against = override("shared_units", costs={"a": {"units": 1}, "b": {"units": 1}})
    found = capacities([Card(EMPTY)], overrides=[against])
    assert [(note["item"], note["reason"]) for note in found.notes] == [("hosts/h0", "capacity")]


# ------------------------------------------------ truth: what a driver does, and what it shows


class Truth(t.NamedTuple):
    """Types share resources additively."""

    totals: tuple[int, ...]
    needs: dict[str, tuple[int, ...]]

    def room(self, used: t.Mapping[str, int]) -> Counts:
        left = [
            total - sum(self.needs[name][place] * count for name, count in used.items())
            for place, total in enumerate(self.totals)
        ]
        return {
            name: min(have // need for have, need in zip(left, needs, strict=True) if need)
            for name, needs in self.needs.items()
        }


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """One to three resources, two or three types that each take something."""
    width = draw(st.integers(1, 3))
    totals = tuple(draw(st.lists(st.integers(1, 14), min_size=width, max_size=width)))
    needs = {}
    for name in draw(st.sampled_from([("a", "b"), ("a", "b", "c")])):
        own = draw(st.lists(st.integers(0, 5), min_size=width, max_size=width))
        needs[name] = tuple(own) if any(own) else (1,) * width
    return Truth(totals, needs)


def grown(truth: Truth, order: t.Sequence[str], most: int = 99) -> Counts:
    """What lives there after creates in this order, as far as they fit."""
    used = dict.fromkeys(truth.needs, 0)
    for name in order[:most]:
        if truth.room(used)[name] > 0:
            used[name] += 1
    return used


def promises(model: Model, left: Left, depth: int) -> t.Iterator[tuple[str, ...]]:
    """Every sequence of creates that the model allows, up to a length."""
    for seat, name in enumerate(model.types):
        after = kind(model).take(left, seat) if depth else None
        if after is not None:
            yield (name,)
            for rest in promises(model, after, depth - 1):
                yield (name, *rest)


ORDERS = st.lists(st.sampled_from(["a", "b"]), max_size=6)


def states(truth: Truth, orders: list[list[str]]) -> list[Counts]:
    """Parents on their way: after each step of each order."""
    return [grown(truth, order, step) for order in orders for step in range(len(order) + 1)]


@given(
    truth=truths(),
    orders=st.lists(ORDERS, min_size=1, max_size=3),
    untyped=st.sampled_from([0, 0, 1]),
    data=st.data(),
)
@OFTEN
def test_what_parents_show_together_never_promises_more_than_there_is(
    truth: Truth, orders: list[list[str]], untyped: int, data: st.DataObject
) -> None:
    """The heart of it: whatever the resources behind the numbers, each sequence of creates that is allowed succeeds."""
    fillings = states(truth, orders)
    leave = [{name: data.draw(st.integers(0, count)) for name, count in used.items()} for used in fillings]
    cards = [Card(truth.room(used), used, going) for used, going in zip(fillings, leave, strict=True)]
    # On the last one somebody makes another instance, and it does not say yet of which type it is.
    half = grown(truth, [data.draw(st.sampled_from(sorted(truth.needs)))] if untyped else [])
    cards.append(Card(truth.room(half), {"": sum(half.values())}))
    checks = zip(derived(cards), [*fillings, half], [*leave, {}], strict=True)
    for room, used, going in checks:
        stay = {name: used[name] - going.get(name, 0) for name in used}
        for left, there in ((room.left, used), (room.full, stay)):
            for creates in promises(room.model, left, 4):
                now = dict(there)
                for name in creates:
                    assert truth.room(now)[name] > 0
                    now[name] += 1


def test_the_property_above_sees_pools_of_every_size() -> None:
    """A pool of 9 units: seen together, two types of 2 and 3 units each are shares of it, 4 and 3 of them."""
    truth = Truth((9,), {"a": (2,), "b": (3,)})
    rooms = derived([Card(truth.room(used), used) for used in states(truth, [["a", "b", "a"]])])
    assert {(room.model.name, room.model.origin, room.model.costs) for room in rooms} == {
        ("shared_units", "siblings", ((3,), (4,)))
    }
    assert [room.left for room in rooms] == [(12,), (9,), (5,), (2,)]


@pytest.mark.parametrize("other", ["b", ""])
def test_a_living_instance_without_costs_makes_the_operators_totals_useless(other: str) -> None:
    """Seven units in all, one of them is taken by an instance that the policy cannot speak of."""
    rule = override("shared_units", costs={"a": {"units": 2}, "c": {"units": 3}}, totals={"units": 7})
    room = derived([Card({"a": 3, "b": 6, "c": 2}, {other: 1})], overrides=[rule])[0]
    assert (room.model.types, room.left) == (("a", "c"), (6,))


def test_an_instance_of_no_known_type_makes_shares_useless() -> None:
    """What it takes of the pool is not known, so its card is planned as one type at a time."""
    truth = Truth((9,), {"a": (2,), "b": (3,)})
    alike = [Card(truth.room(used), used) for used in states(truth, [["a", "b", "a"]])]
    room = derived([*alike, Card({"a": 3, "b": 2}, {"": 1})])[-1]
    assert shape(room) == ("unknown", "default", {"a": 3, "b": 2}, {"a": 3, "b": 2})


@given(truth=truths(), order=ORDERS, given_totals=st.booleans())
@OFTEN
def test_the_operators_costs_give_just_what_the_parent_shows(
    truth: Truth, order: list[str], given_totals: bool
) -> None:
    used = grown(truth, order)
    names = [f"r{place}" for place in range(len(truth.totals))]
    costs = {kind_of: dict(zip(names, needs, strict=True)) for kind_of, needs in truth.needs.items()}
    totals = dict(zip(names, truth.totals, strict=True)) if given_totals else {}
    room = derived([Card(truth.room(used), used)], overrides=[override("vector", costs=costs, totals=totals)])[0]
    assert shape(room)[:3] == ("vector", "operator", truth.room(used))
    for creates in promises(room.model, room.left, 4):
        now = dict(used)
        for name in creates:
            assert truth.room(now)[name] > 0
            now[name] += 1


@given(truth=truths(), orders=st.lists(ORDERS, min_size=1, max_size=4), data=st.data())
@OFTEN
def test_what_is_taken_and_given_back_is_there_again(
    truth: Truth, orders: list[list[str]], data: st.DataObject
) -> None:
    states = [grown(truth, order) for order in orders]
    cards = [Card(truth.room(used), used) for used in states]
    costs = {kind_of: {"r": needs[0] or 1} for kind_of, needs in truth.needs.items()}
    rules = data.draw(st.sampled_from([(), (override("vector", costs=costs),), (override("independent"),)]))
    for room in derived(cards, overrides=rules):
        assert room.full == room.left
        for seat, name in enumerate(room.model.types):
            after = kind(room.model).take(room.left, seat)
            if after is not None and not room.model.exclusive:
                assert room.model.given_back(after, {name: 1}) == room.left


@given(truth=truths(), orders=st.lists(ORDERS, min_size=1, max_size=5), data=st.data())
@OFTEN
def test_the_order_of_hosts_types_and_devices_does_not_matter(
    truth: Truth, orders: list[list[str]], data: st.DataObject
) -> None:
    states = [grown(truth, order) for order in orders]
    hosts, leaving = fleet([Card(truth.room(used), used) for used in states], "drv")
    before = derive(hosts, (), leaving)
    for host in hosts:
        assert host.snapshot is not None
        host.snapshot["parents"][0]["types"] = data.draw(st.permutations(host.snapshot["parents"][0]["types"]))
        host.snapshot["devices"] = data.draw(st.permutations(host.snapshot["devices"]))
    after = derive(data.draw(st.permutations(hosts)), (), leaving)
    assert dict(after.rooms) == dict(before.rooms)
    assert after.notes == before.notes


GARBAGE = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.sampled_from(
        [
            "framebuffer=" + "9" * 5000,
            "framebuffer=0M, max_instance=0",
            "framebuffer=-4G",
            "max_instance=٣",
            "low_gm_size: 0MB\nhigh_gm_size: 0MB\nfence: 0",
            "low_gm_size: 1MB\nlow_gm_size: 2MB\nhigh_gm_size: 3MB\nfence: 4",
            "{{ framebuffer }}",
        ]
    ),
)


@given(
    driver=st.sampled_from(["nvidia", "i915", "kvmgt", "mtty", "vfio_ap", "drv"]),
    texts=st.lists(GARBAGE, min_size=2, max_size=2),
    rooms=st.lists(st.one_of(st.none(), st.integers(-1, 2**40)), min_size=2, max_size=2),
    used=st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
@OFTEN
@pytest.mark.fault("R16")
def test_garbage_never_gives_more_than_what_is_shown(
    driver: str, texts: list[str | None], rooms: list[int | None], used: list[int]
) -> None:
    names = ("mtty-1", "mtty-2")
    descriptions = {name: text for name, text in zip(names, texts, strict=True) if text is not None}
    card = Card(dict(zip(names, rooms, strict=True)), dict(zip(names, used, strict=True)))
    room = derived([card, card], driver, descriptions)[0]
    for seat, name in enumerate(room.model.types):
        shown = card.rooms[name]
        assert shown is not None
        assert (kind(room.model).take(room.left, seat) is None) == (shown == 0)


def test_a_parent_that_does_not_answer_has_no_room() -> None:
    hosts, _leaving = fleet([Card(EMPTY), Card(EMPTY)], "drv")
    assert hosts[0].snapshot is not None
    hosts[0].snapshot["parents"][0]["state"] = "hung"
    assert list(derive(hosts, (), {}).rooms) == [("h1", "p1")]


def test_parents_that_are_alike_share_one_room() -> None:
    rooms = derived([Card(EMPTY)] * 3)
    assert all(one is other for one, other in itertools.pairwise(rooms))


def test_a_type_that_does_not_say_its_room_gives_nothing_back() -> None:
    """The plan's record of the parent has no such type, so the checker could not follow."""
    room = derived([Card({"mtty-1": 0, "mtty-2": None}, {"mtty-2": 1}, {"mtty-2": 1})], "mtty")[0]
    assert (room.model.types, room.left, room.full) == (("mtty-1",), (0,), (0,))
