# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of one pair: what a source's and a target's attributes and the driver's answers mean together.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Answer as Word
from ansible_collections.vfio.migration.plugins.module_utils._model import Attribute


class Answer(t.NamedTuple):
    """An answer and why."""

    verdict: Word
    reason: str | None
    errno: str | None


NOT_ASKED = Answer("unknown", "not_asked", None)
IN_USE = Answer("unknown", "in_use", None)
"""Not asked on purpose: another device of its parent and type speaks for it."""
EXPIRED = Answer("unknown", "expired", None)
NO_DEVICE = Answer("unknown", "no_device", None)
VENDOR_UNKNOWN = Answer("unknown", "vendor_unknown", None)
"""Not asked, for it may be another vendor's."""

Asked = t.Callable[[str], Answer]
"""What the target's driver said to a string."""


def says_unsupported(attribute: Attribute) -> bool:
    """The node is there and its driver says that it does not migrate; an absent node says nothing."""
    return attribute["status"] == "unsupported" and attribute["reason"] != "absent"


def judge(source: Attribute | None, target: Attribute | None, state: str, asked: Asked) -> Answer:
    """Would the target's node take what the source's node produces? A definite no outranks everything unknown.

    :arg source: None when there is no device yet that could produce a string.
    :arg state: of the target's parent.
    """
    if source is not None and says_unsupported(source):
        return Answer("incompatible", "source_unsupported", source["errno"])
    if target is not None and says_unsupported(target):
        return Answer("incompatible", "errno", target["errno"])
    if source is None or target is None:
        return NO_DEVICE
    if source["status"] != "ok" or source["value"] is None:
        return Answer("unknown", f"source_{source['reason'] or source['status']}", source["errno"])
    if target["status"] != "ok":
        return Answer("unknown", f"target_{target['reason'] or target['status']}", target["errno"])
    if state != "ok":
        return Answer("unknown", state, None)
    return asked(source["value"])


def strictest(first: Answer, second: Answer) -> Answer:
    """Of two devices of one parent and type: a no outranks an expired answer, which outranks a yes."""
    return min(first, second, key=_rank)


def is_evidence(answer: Answer) -> bool:
    """Whether a device node said something: one that was busy or could not be asked did not."""
    return answer.verdict != "unknown" or answer.reason == EXPIRED.reason


def disagree(first: Answer, second: Answer) -> bool:
    """One says yes and the other no."""
    return {first.verdict, second.verdict} == {"compatible", "incompatible"}


def _rank(answer: Answer) -> tuple[int, str, str]:
    return (_STRICTNESS[answer.verdict], answer.reason or "", answer.errno or "")


_STRICTNESS = {"incompatible": 0, "unknown": 1, "compatible": 2}
