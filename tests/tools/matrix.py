# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a matrix of pairings against what a scenario is known to mean: ``matrix PAIRINGS.json TRUTH.yml``.

A row of the truth names one device, one target and the answer; see extensions/molecule/readiness/vars/truth.yml.
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import yaml

from ansible_collections.vfio.migration.plugins.module_utils._model import Pairings

UNLISTED = {"verdict": "incompatible", "reason": "unlisted", "warnings": []}
"""A pair that no driver was asked about: another vendor or another type."""


def sources(pairings: Pairings) -> dict[str, str]:
    """``host/device`` -> class."""
    return {
        f"{member['host']}/{member['device']}": one["id"]
        for one in pairings["sources"]
        for member in one["members"]
        if member["device"]
    }


def targets(pairings: Pairings) -> dict[str, str]:
    """``host/device``, or ``host/parent/type`` for an instance that does not exist yet -> class."""
    return {
        f"{member['host']}/{member['device'] or '{}/{}'.format(member['parent'], one['type'])}": one["id"]
        for one in pairings["targets"]
        for member in one["members"]
    }


def differences(pairings: Pairings, truth: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """One sentence for every row that the matrix answers in another way."""
    found = {(one["source"], one["target"]): one for one in pairings["pairings"]}
    known_sources, known_targets = sources(pairings), targets(pairings)
    wrong = []
    for row in truth:
        if row["source"] not in known_sources or row["target"] not in known_targets:
            wrong.append(f"{row['source']} or {row['target']} is not in the matrix.")
            continue
        answer: t.Mapping[str, t.Any] = found.get(
            (known_sources[row["source"]], known_targets[row["target"]]), UNLISTED
        )
        for key in ("verdict", "reason", "errno", "scope", "warnings"):
            if key in row and answer.get(key) != row[key]:
                wrong.append(f"{row['source']} -> {row['target']}: {key} is {answer.get(key)}, not {row[key]}.")
    return wrong


def main(pairings_file: str, truth_file: str) -> int:
    pairings = t.cast(Pairings, json.loads(Path(pairings_file).read_text(encoding="utf-8")))
    truth = yaml.safe_load(Path(truth_file).read_text(encoding="utf-8"))["pairs"]
    wrong = differences(pairings, truth)
    print("\n".join([*wrong, f"{len(truth)} known pairs, {len(wrong)} differences."]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
