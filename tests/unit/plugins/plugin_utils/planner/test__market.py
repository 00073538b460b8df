# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices say which hosts to empty: what is scarce costs, what there is enough of does not."""

from __future__ import annotations

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._market import Bundle, asking
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Uses
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Stock

FEW: Stock = (0, (1,))
MANY: Stock = (1, (1,))
OTHERS: Stock = (2, (1,))
A, B, NOBODYS = 0, 1, 2


@pytest.mark.parametrize(
    ("uses", "stocks", "hosts", "costs"),
    [
        pytest.param({A: {FEW: 1.0}}, {FEW: 10}, [{A: 1}] * 20, {A: 1.0}, id="room for half of them"),
        pytest.param({A: {FEW: 1.0}}, {FEW: 10}, [{A: 2}] * 20, {A: 0.5}, id="two places for one host"),
        pytest.param({A: {FEW: 0.5}}, {FEW: 10}, [{A: 1}] * 40, {A: 1.0}, id="two places in one parent"),
        pytest.param({A: {FEW: 1.0}}, {FEW: 50}, [{A: 1}] * 20, {A: 0.0}, id="room for all"),
        pytest.param(
            {A: {FEW: 1.0}, B: {MANY: 1.0}},
            {FEW: 10, MANY: 500},
            [{A: 1, B: 9}] * 20,
            {A: 1.0, B: 0.0},
            id="only what is scarce costs",
        ),
        pytest.param(
            {A: {FEW: 1.0, MANY: 1.0}, B: {MANY: 1.0}},
            {FEW: 10, MANY: 10},
            [{A: 1}] * 20 + [{B: 1}] * 20,
            {A: 1.0, B: 1.0},
            id="one takes what the other needs",
        ),
        pytest.param(
            {A: {FEW: 1.0}, B: {MANY: 1.0}},
            {FEW: 10, MANY: 20},
            [{A: 4}] * 5 + [{A: 1}] * 40,
            {A: 1.0, B: 0.0},
            id="those who want less outbid those who want more",
        ),
        pytest.param(
            {A: {FEW: 1.0}, NOBODYS: {}},
            {FEW: 10},
            [{A: 1}] * 5 + [{A: 1, NOBODYS: 1}] * 20,
            {A: 0.0},
            id="who can not be emptied bids for nothing",
        ),
        pytest.param({A: {FEW: 1.0}}, {FEW: 10}, [], {A: 0.0}, id="nobody is to be emptied"),
        pytest.param({A: {}}, {}, [{A: 1}], {}, id="no room at all"),
    ],
)
def test_what_is_scarce_costs(
    uses: Uses, stocks: dict[Stock, int], hosts: list[Bundle], costs: dict[int, float]
) -> None:
    assert asking(uses, stocks, hosts, []) == pytest.approx(costs, abs=0.07)


def test_where_no_host_can_be_emptied_vms_buy_one_by_one() -> None:
    prices = asking({A: {FEW: 1.0}, NOBODYS: {}}, {FEW: 10}, [{A: 5, NOBODYS: 1}] * 4, [{A: 1}] * 20)
    assert prices == pytest.approx({A: 1.0}, abs=0.07)


def test_who_wants_little_of_what_is_scarce_pays_less_than_who_wants_much() -> None:
    """Three hosts of the first sort, or one of the second: there is no room for the two together."""
    uses: Uses = {A: {FEW: 1.0}, B: {MANY: 1.0, OTHERS: 1.0}}
    first, second = {A: 1, B: 5}, {A: 3, B: 1}
    prices = asking(uses, {FEW: 30, MANY: 100, OTHERS: 80}, [first] * 30 + [second] * 30, [])
    assert sum(prices[need] * places for need, places in first.items()) < 1
    assert sum(prices[need] * places for need, places in second.items()) > 1
