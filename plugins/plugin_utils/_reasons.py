# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every stable code means to an operator, and what to do about it.

This file is private to the collection. Codes stay in the contracts, where
programs compare them; sentences stay here, where they may be reworded freely.
"""

from __future__ import annotations

import typing as t


class Sentence(t.NamedTuple):
    """A code in words."""

    says: str
    """What it means: one short clause."""
    do: str | None = None
    """What to do about it: one sentence; null when nothing can or need be done."""


_LOG = "Read the kernel log of the target: only the driver knows why it refused."
_HUNG = "A driver hangs: look for processes in state D on that host, and reboot; rmmod would hang, too."
_BECOME = "Run with become: the attribute may be read by anyone, but only root may write it."
_BROKEN = "The driver's own string breaks the rules: report it to its vendor; it is never sent anywhere."
_ABSENT = "These drivers have no migration_version: ask their vendor which versions may migrate."
_DEADLINE = "Raise the deadline of the gather and probe steps, or heal the slow driver."
_NOTES = "See that host's notes in the report's files: they name each node that could not be read."
_RERUN = "Run the readiness playbook again."
_WHOLE = "Run the readiness playbook again, without --limit."
_EXCLUDED = (
    "Run the readiness playbook again with this release, without --limit; where that is no cure, clear the fact cache."
)
_AGAIN = "Run again: something changed or was busy while it was looked at."

_VENDOR = Sentence("its vendor or the target's could not be read", _NOTES)

_DRIVER_SAYS: t.Final[dict[str, tuple[str, str | None]]] = {
    "absent": ("offers no migration_version", _ABSENT),
    "errno": ("says that it does not support migration", None),
    "permission": ("could not be read: permission denied", _BECOME),
    "busy": ("stayed busy", _AGAIN),
    "hung": ("did not answer in time", _HUNG),
    "deadline": ("was not reached in the host's time", _DEADLINE),
    "gone": ("vanished while it was looked at", _AGAIN),
    "incomplete": ("was still making the device", _AGAIN),
    "truncated": ("gives a string that fills a page and is cut off", _BROKEN),
    "empty": ("gives an empty string", _BROKEN),
    "not_ascii": ("gives a string that is not plain ASCII", _BROKEN),
    "unsupported": ("does not support migration", None),
    "unknown": ("could not be read", _NOTES),
    "invalid": ("gives a string that breaks the rules", _BROKEN),
}


def _of(whose: str, prefix: str = "") -> dict[str, Sentence]:
    return {f"{prefix}{code}": Sentence(f"{whose} driver {says}", do) for code, (says, do) in _DRIVER_SAYS.items()}


READING: t.Final[dict[str, Sentence]] = _of("the")
"""Attribute.reason, Attribute.status and Note.reason."""

PROBING: t.Final[dict[str, Sentence]] = {
    "errno": Sentence("the target's driver refuses it", _LOG),
    "vendor": Sentence("the target is another vendor's"),
    "type": Sentence("the target is of another type"),
    "not_probed": Sentence("the target could not be written to", _BECOME),
    "check_mode": Sentence("check mode asks no driver", "Run without check mode to let the drivers answer."),
    "busy": Sentence("the target's driver stayed busy", _AGAIN),
    "hung": Sentence("the target's driver did not answer in time", _HUNG),
    "deadline": Sentence("the target host's time was up", _DEADLINE),
    "gone": Sentence("the target vanished while it was asked", _AGAIN),
    "vendor_unknown": _VENDOR,
    "unreadable": Sentence("the target's driver answered, but its node can not be read any more", _LOG),
    "short_write": Sentence("the target's kernel took only a part of the string"),
    "too_long": Sentence("the string is longer than the target's page"),
    "empty": Sentence("the string is empty", _BROKEN),
    "not_ascii": Sentence("the string is not plain ASCII text", _BROKEN),
    "write_limit": Sentence("the limit of writes was reached", "Raise max_writes, or run again: answers are kept."),
    "absent": Sentence("the target's driver offers no migration_version", _ABSENT),
}
"""Verdict.reason; a Pairing carries these too."""

PAIRING: t.Final[dict[str, Sentence]] = {
    **_of("its own", "source_"),
    **_of("the target's", "target_"),
    "expired": Sentence("the target's driver or host was restarted since, or it was long ago", _RERUN),
    "vendor_unknown": _VENDOR,
    "not_asked": Sentence("the target was not asked yet", _WHOLE),
    "in_use": Sentence("the target is in use, and its type is asked instead"),
    "no_device": Sentence("there is no device yet that could be asked"),
}
"""Pairing.reason, where it is not the reason of a verdict."""

READINESS: t.Final[dict[str, Sentence]] = {
    "full": Sentence("accepted elsewhere, but no host has room", "Make room for the types marked full in the matrix."),
    "room_unknown": Sentence("accepted elsewhere, but how much room there is cannot be read"),
    "crowded": Sentence("each fits elsewhere by itself, but there is not room for all of them at once"),
    "unlisted": Sentence("not all of its devices could be listed", _NOTES),
    "split": Sentence("its devices fit, but not all on one host"),
    "no_target": Sentence("no other host offers its vendor and type"),
    "hosts_missing": Sentence("no host that answered takes it, and some did not answer in full"),
}
"""Standing.reason, where it is not the reason of a pairing."""

_REPLAN = "Make a new plan: this one no longer fits the fleet."

PREPARING: t.Final[dict[str, Sentence]] = {
    "uuid_clash": Sentence("its UUID is in use on another host", "Give the clashing targets other UUIDs in the plan."),
    "source_unread": Sentence("its source host was not read, or too long ago", "Reach the source hosts, then rerun."),
    "source_gone": Sentence(
        "it is not on its source host any more", "If the VM has moved already, leave its workload out of the run."
    ),
    "source_changed": Sentence("on its source host it is not what the plan says", _REPLAN),
    "target_unread": Sentence("the target host was not read in this run", "Reach the target hosts, then rerun."),
    "parent_gone": Sentence(
        "the target host has no such parent any more", "Rerun if that host has just booted, else make a new plan."
    ),
    "type_gone": Sentence("the parent does not offer the type any more", _REPLAN),
    "no_room": Sentence("the parent has no room for it any more", _REPLAN),
    "device_gone": Sentence("the target host has no such VFIO device any more", _REPLAN),
    "device_taken": Sentence("somebody else holds the device on the target host", _REPLAN),
    "holders_unknown": Sentence(
        "nobody can tell whether the device on the target host is free", "Run with become: only root sees all holders."
    ),
    "nobody_to_ask": Sentence(
        "the plan has no string that a driver could be asked", "Set allow_unknown to create it all the same."
    ),
    "lost": Sentence("it was made, and is not there any more", "Find out who removes or replaces devices there."),
    "unverified": Sentence("it was made, but its host could not be read afterwards", "Run again to have it verified."),
    "task_failed": Sentence("the task on that host failed", "See the message of the failed task above."),
}
"""Why nothing, or nothing reliable, is there for a workload, where it is not the reason of a verdict or of the module
that creates."""

FINDINGS: t.Final[dict[str, Sentence]] = {
    "uuid_clash": Sentence("one UUID, several hosts", "Give one of the clashing devices another UUID."),
    "inconsistent": Sentence(
        "type node says yes, device node no", "Report it to the driver's vendor: two of its nodes disagree."
    ),
    "hung": Sentence("drivers that do not answer", _HUNG),
    "unreachable": Sentence("hosts without facts", "Reach the unreachable hosts, then run again, without --limit."),
    "excluded": Sentence("hosts with broken facts", _EXCLUDED),
    "incomplete": Sentence("hosts that could not tell all they have", _NOTES),
    "not_probed": Sentence("drivers that could not be asked", _BECOME),
    "expired": Sentence("evidence that no longer counts", _RERUN),
    "no_way_back": Sentence("moves that cannot be undone", "Mind that the moves marked * can not be undone."),
    "cached": Sentence("hosts known from an earlier run only"),
}
"""Finding.kind, the most pressing first."""

REASONS: t.Final[dict[str, Sentence]] = {**READING, **PROBING, **PAIRING, **READINESS, **PREPARING}
"""Every code that may explain why a device or a workload is not ready; a verdict's meaning wins over an attribute's."""


def sentence(code: str | None, errno: str | None = None) -> str:
    """Say a reason code in words; an unknown code is shown as it is, never hidden."""
    known = REASONS.get(code or "")
    says = known.says if known else f"reason {code}"
    return f"{says} ({errno})" if errno else says
