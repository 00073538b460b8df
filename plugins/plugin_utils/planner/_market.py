# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a place for a device costs where it is worth 1 to empty a host: which hosts to empty, found out by a market.

Each host buys places for all of its devices or for none, each need at the parents where that is cheapest. Parents that
sell more than they have get dearer, the others cheaper, until what is bought is about what there is. Then the hosts
that pay least are those to empty: these are the prices of the linear model of merged parents (its dual values), but for
the slack that keeps them from leaping, and it takes neither a solver nor as many steps as a fleet has VMs.

This file is private to the collection and pure. Only +, -, *, / and fsum are done to floats: they give the same
everywhere, which sum does not (Python 3.12 adds more exactly than those before it).
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Uses
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Stock

ROUNDS = 100
PACE = 0.5
"""Share of what is missing by which a price goes up in the first round."""
CALMER = 0.05
"""So much slower with each round."""
SLACK = 0.05
"""Who pays as much as it is worth buys half, and so much more nothing: prices settle sooner than with a leap."""

Bundle = t.Mapping[int, int]
"""Need -> places; all are bought or none."""

_Ways = t.Mapping[int, t.Sequence[tuple[int, float]]]
"""As Uses, with the place of a stock in a list instead of the stock."""


def asking(
    uses: Uses, stocks: t.Mapping[Stock, int], hosts: t.Iterable[Bundle], vms: t.Iterable[Bundle]
) -> dict[int, float]:
    """Need -> what a place for it costs, for all that some parent takes.

    :arg hosts: what each host that can be emptied has.
    :arg vms: what each VM has; they buy one by one where no host can have all it wants.
    """
    places = {stock: place for place, stock in enumerate(stocks)}
    taken = {need: [(places[stock], use) for stock, use in fits.items()] for need, fits in uses.items() if fits}
    parents = list(stocks.values())
    buyers = _able(hosts, taken) or _able(vms, taken)
    prices = [len(buyers) / max(1, sum(parents))] * len(parents)
    cheapest = _cheapest(taken, prices)
    for turn in range(ROUNDS if buyers else 0):
        pace = PACE / (1 + CALMER * turn)
        sold = _sold(taken, parents, prices, cheapest, _bought(buyers, cheapest))
        for place, (much, most) in enumerate(zip(sold, parents, strict=True)):
            prices[place] *= 1 + pace * min(1.0, much / most - 1)
        cheapest = _cheapest(taken, prices)
    return cheapest


def _able(bundles: t.Iterable[Bundle], taken: _Ways) -> list[tuple[tuple[int, int], ...]]:
    return [tuple(bundle.items()) for bundle in bundles if bundle.keys() <= taken.keys()]


def _cheapest(uses: _Ways, prices: t.Sequence[float]) -> dict[int, float]:
    return {need: min([prices[place] * use for place, use in ways]) for need, ways in uses.items()}


def _bought(buyers: t.Iterable[tuple[tuple[int, int], ...]], cheapest: t.Mapping[int, float]) -> dict[int, float]:
    """Need -> places that find a buyer."""
    bought = dict.fromkeys(cheapest, 0.0)
    for buyer in buyers:
        share = min(1.0, 0.5 + (1 - math.fsum([cheapest[need] * places for need, places in buyer])) / (2 * SLACK))
        if share > 0:
            for need, places in buyer:
                bought[need] += share * places
    return bought


def _sold(
    uses: _Ways,
    parents: t.Sequence[int],
    prices: t.Sequence[float],
    cheapest: t.Mapping[int, float],
    bought: t.Mapping[int, float],
) -> list[float]:
    """What parents of each place sell, in whole parents: most where it is cheapest, and where there are many."""
    sold = [0.0] * len(parents)
    for need, places in bought.items():
        if places:
            shares = [
                (place, use, parents[place] / use * _eighth(cheapest[need] / (prices[place] * use)))
                for place, use in uses[need]
            ]
            total = math.fsum([share for _place, _use, share in shares])
            for place, use, share in shares:
                sold[place] += places * share / total * use
    return sold


def _eighth(number: float) -> float:
    """Its eighth power."""
    square = number * number
    return square * square * square * square
