# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is scarce, so that the search spares it.

The *pressure* of a need is how crowded its parents get when all needs spread over the parents as evenly as they can.
A parent is worth the most that could still be made of it, each instance at the highest pressure it would take. A VM
goes where least worth is lost: into a used parent rather than an empty one, and not where scarce answers are.

This file is private to the collection and pure. Only +, -, *, / and fsum are done to floats: they give the same
everywhere.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Left
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Stock

ROUNDS = 20
CROWDED = 8.0
"""More pressure than this makes no difference."""
BESIDE = 0.01
"""Share of its worth that a parent has for what it could become beside the best."""


def count(kind: Kind, left: Left, seat: int) -> int:
    """How many more instances of a seat fit."""
    if kind.exclusive:
        return left[seat]
    return min((have // cost for have, cost in zip(left, kind.costs[seat], strict=True) if cost), default=1)


Uses = dict[int, dict[Stock, float]]
"""Need -> parents that take it, and the share of such a parent that it takes."""


def uses_of(kinds: t.Sequence[Kind], stocks: t.Iterable[Stock], wanted: t.Collection[int]) -> Uses:
    """Who takes what of all that is wanted."""
    uses: Uses = {need: {} for need in sorted(wanted)}
    for stock in stocks:
        for number, seat in enumerate(kinds[stock[0]].seats):
            fit = count(kinds[stock[0]], stock[1], number)
            for need in sorted((seat.yes | seat.maybe) & uses.keys()) if fit else ():
                uses[need][stock] = min(1 / fit, uses[need].get(stock, 1.0))
    return uses


def pressure(uses: Uses, stocks: t.Mapping[Stock, int], wanted: t.Mapping[int, int]) -> dict[int, float]:
    """How crowded the parents are that take a need, when each is wanted so many times and there are so many parents of
    each stock."""
    draw = dict.fromkeys(stocks, 1.0)
    for _round in range(ROUNDS):
        crowd = dict.fromkeys(stocks, 0.0)
        for need, fits in uses.items():
            for stock, part in _shares(fits, stocks, draw).items():
                crowd[stock] += wanted[need] * part * fits[stock] / stocks[stock]
        draw = {stock: draw[stock] / (0.1 + crowd[stock]) for stock in draw}
    return {need: min([CROWDED, *(crowd[stock] for stock in fits)]) for need, fits in uses.items()}


def _shares(
    fits: t.Mapping[Stock, float], stocks: t.Mapping[Stock, int], draw: t.Mapping[Stock, float]
) -> dict[Stock, float]:
    """How a need is shared out: to where it is drawn, and to where there is much room."""
    pull = {stock: draw[stock] * stocks[stock] / use for stock, use in fits.items()}
    total = math.fsum(pull.values())
    return {stock: each / total for stock, each in pull.items()}


class Prices:
    """What seats and parents are worth at these pressures, and what VMs cost."""

    def __init__(self, kinds: t.Sequence[Kind], pressure: t.Mapping[int, float], asking: t.Mapping[int, float]) -> None:
        self._kinds = kinds
        self._asking = asking
        self.pressure = {need: 0.001 + much * much for need, much in pressure.items()}
        """Squared, so that a crowded need weighs more than several others."""
        self._seats: dict[int, list[float]] = {}
        self._worths: dict[Stock, float] = {}
        self._losses: dict[tuple[Stock, int], float] = {}

    def _seat(self, accepted: t.AbstractSet[int]) -> float:
        return max((self.pressure[need] for need in sorted(accepted & self.pressure.keys())), default=0.0)

    def worth(self, stock: Stock) -> float:
        """What a parent is worth with so much left."""
        found = self._worths.get(stock)
        if found is None:
            kind = self._kinds[stock[0]]
            if stock[0] not in self._seats:
                self._seats[stock[0]] = [self._seat(seat.yes | seat.maybe) for seat in kind.seats]
            each = [count(kind, stock[1], number) * price for number, price in enumerate(self._seats[stock[0]])]
            found = self._worths[stock] = max(each, default=0.0) + BESIDE * math.fsum(each)
        return found

    def lost(self, stock: Stock, seat: int) -> float:
        """What one more instance takes from the worth."""
        found = self._losses.get((stock, seat))
        if found is None:
            after = self._kinds[stock[0]].take(stock[1], seat)
            found = self.worth(stock) - (0.0 if after is None else self.worth((stock[0], after)))
            self._losses[stock, seat] = found
        return found

    def burden(self, needs: t.Iterable[int]) -> float:
        """How hard it is to place a VM with these needs."""
        return math.fsum(0.001 + self._asking.get(need, CROWDED) for need in needs)
