# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear models for the HiGHS solver, which need not be there.

One thread, one seed, and limits that count nodes and iterations: a clock would make plans differ from run to run.

This file is private to the collection and pure.
"""

from __future__ import annotations

import math
import typing as t

Row = t.Mapping[int, float]
"""Column -> coefficient."""

INFINITY = math.inf
SLACK = 1e-6
"""Tolerance of the solver; a bound that is an integer but for so much is that integer."""
CAUTION = 1e-4
"""The same where the solver branched: each of its many linear models may be off by its tolerance."""


class Answer(t.NamedTuple):
    """The optimum of a model without integers."""

    value: float
    values: list[float]
    """Of the columns."""
    reduced: list[float]
    """What one more of each column would change."""
    duals: list[float]
    """Of the rows."""


class Found(t.NamedTuple):
    """What a search in whole numbers came to."""

    values: list[float]
    """Of the columns, in the best solution; empty when there is none."""
    bound: float
    """No solution is worth more. Without limit when nothing is known, and less than anything when there is none."""


def is_there() -> bool:
    """Whether the solver can be used."""
    try:
        import highspy  # noqa: F401
    except ImportError:
        return False
    return True


def silent() -> t.Any:  # noqa: ANN401 - the solver has no types
    """A solver that never prints: since 1.16 it greets on standard output while it is made, before it can be told."""
    import highspy

    class Silent(highspy.Highs):
        def enableCallbacks(self) -> None:  # noqa: N802 - the first that it does, and the first to print
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    return Silent()  # type: ignore[no-untyped-call]


class Model:
    """Columns that are never negative, and rows; always maximised."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._uppers: list[float] = []
        self._integers: list[bool] = []
        self._rows: list[tuple[float, Row, float]] = []

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self._costs)

    def column(self, upper: float = INFINITY, *, integer: bool = False, cost: float = 0) -> int:
        """Add a column; its number."""
        self._costs.append(cost)
        self._uppers.append(upper)
        self._integers.append(integer)
        return len(self._costs) - 1

    def row(self, lower: float, row: Row, upper: float) -> int:
        """Add lower <= row <= upper; its number."""
        self._rows.append((lower, row, upper))
        return len(self._rows) - 1

    def free(self, columns: t.Iterable[int]) -> None:
        """Let these columns have any numbers."""
        for column in columns:
            self._integers[column] = False

    def aim(self, columns: t.Iterable[int]) -> None:
        """Maximise the sum of these columns, next to those that were added with a cost."""
        for column in columns:
            self._costs[column] = 1.0

    def bound(self, duals: t.Sequence[float]) -> float:
        """What no solution is worth more than, for any numbers that the rows are weighed with (weak duality).

        Nothing here depends on how exact the solver is. Each column needs an upper limit.
        """
        left = list(self._costs)
        total = []
        for (lower, row, upper), dual in zip(self._rows, duals, strict=True):
            limit = upper if dual > 0 else lower
            if dual and math.isfinite(limit):
                total.append(dual * limit)
                for column, value in row.items():
                    left[column] -= dual * value
        total += (upper * gain for upper, gain in zip(self._uppers, left, strict=True) if gain > 0)
        return math.fsum(total)

    def relaxed(self) -> Answer | None:
        """Maximise with integers as any numbers; None when the solver gave up."""
        import highspy

        solver = self._solver(whole=False)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = solver.getSolution()
        return Answer(
            solver.getObjectiveValue(), list(solution.col_value), list(solution.col_dual), list(solution.row_dual)
        )

    def solve(self, nodes: int, start: t.Mapping[int, float] | None = None, effort: float = 0.05) -> Found:
        """The best solution among so many nodes, or the start: column -> value of those that are not 0.

        :arg effort: share of the work that goes into finding solutions rather than into the bound.
        """
        import highspy

        solver = self._solver(whole=True)
        if start is not None:
            given = highspy.HighsSolution()
            given.col_value = [start.get(column, 0.0) for column in range(len(self._costs))]
            solver.setSolution(given)
        solver.setOptionValue("mip_max_nodes", nodes)
        solver.setOptionValue("mip_heuristic_effort", effort)
        solver.setOptionValue("mip_rel_gap", 0.0)
        solver.setOptionValue("mip_abs_gap", 0.999)  # objectives are counts
        solver.run()
        status, solution = solver.getModelStatus(), solver.getSolution()
        if status == highspy.HighsModelStatus.kInfeasible:
            return Found([], -INFINITY)
        proven = status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kSolutionLimit)
        info = solver.getInfo()
        # A model without integers is solved as such, and the bound of a search stays 0.
        value = info.mip_dual_bound if any(self._integers) else info.objective_function_value
        bound = float(value) if proven else INFINITY
        return Found(list(solution.col_value) if solution.value_valid else [], INFINITY if math.isnan(bound) else bound)

    def _solver(self, *, whole: bool) -> t.Any:  # noqa: ANN401 - the solver has no types
        import highspy
        import numpy as np

        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self._costs), len(self._rows)
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = np.array(self._costs)
        lp.col_lower_ = np.zeros(len(self._costs))
        lp.col_upper_ = np.array(self._uppers)
        lp.row_lower_ = np.array([lower for lower, _row, _upper in self._rows])
        lp.row_upper_ = np.array([upper for _lower, _row, upper in self._rows])
        starts = [0]
        index: list[int] = []
        value: list[float] = []
        for _lower, row, _upper in self._rows:
            index += row.keys()
            value += row.values()
            starts.append(len(index))
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(starts, dtype=np.int32)
        lp.a_matrix_.index_ = np.array(index, dtype=np.int32)
        lp.a_matrix_.value_ = np.array(value, dtype=np.float64)
        if whole:
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[integer] for integer in self._integers]
        solver = silent()
        # HiGHS refuses to run with fewer threads than another model of the same process had before.
        solver.resetGlobalScheduler(True)
        for option, setting in (("threads", 1), ("random_seed", 0)):
            solver.setOptionValue(option, setting)
        solver.passModel(lp)
        return solver
