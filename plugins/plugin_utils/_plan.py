# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan files: read, and checked as a whole before anybody acts on a part of them.

A plan may come from a person's editor, so nothing in it is trusted: names become paths, hosts become patterns of
Ansible, UUIDs become devices.

This file is private to the collection.
"""

from __future__ import annotations

import collections
import copy
import itertools
import json
import pathlib
import re
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model, _order
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError, check

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# A host is also a pattern to Ansible, where these would choose others: all:!hv1, hv*, ~hv.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


# The hosts' own rule: what it takes, a plan may say, and both mean the same.
uuid = _order.normal_uuid


MAY_LACK: t.Final[dict[type, dict[str, t.Any]]] = {
    _model.Plan: {"planning": None},
    _model.Move: {"name": None, "passthrough": []},
    _model.PlanDevice: {"attributes": [], "evidence": None},
    _model.PlanPassthrough: {"evidence": None},
    _model.Stuck: {"name": None, "rivals": [], "hosts": [], "remedies": []},
}
"""What a person who writes a plan may leave out, and what it means then."""


class PlanError(ContractError):
    """The plan is refused as a whole; nothing was touched. ``errors`` has one sentence for each mistake."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


def load(given: object) -> _model.Plan:
    """A checked plan with UUIDs in one spelling, from the path of its file or from the plan itself.

    Raises PlanError with every mistake, each naming its place in the file.
    """
    if given == "":
        raise PlanError(["no plan is named: give the path of its file"])
    where, value = (given, _read(given)) if isinstance(given, str) else ("plan", given)
    value = filled(value)
    errors = check(_model.Plan, value, where)
    if errors:
        raise PlanError(errors)
    plan = t.cast("_model.Plan", value)
    errors = [f"{where}{end}" for end in _mistakes(plan)]
    if errors:
        raise PlanError(errors)
    return _spelled(plan)


def filled(value: object) -> object:
    """The plan with what it leaves out; what is no plan stays as it is, for its contract to refuse."""
    return _filled(_model.Plan, value)


_INNER: t.Final[dict[type, dict[str, type]]] = {
    _model.Plan: {"moves": _model.Move, "stuck": _model.Stuck},
    _model.Move: {"devices": _model.PlanDevice, "passthrough": _model.PlanPassthrough},
}


def _filled(contract: type, value: object) -> object:
    if not isinstance(value, dict):
        return value
    lacking = {key: copy.copy(item) for key, item in MAY_LACK[contract].items() if key not in value}
    lists = {
        key: [_filled(inner, one) for one in value[key]]
        for key, inner in _INNER.get(contract, {}).items()
        if isinstance(value.get(key), list)
    }
    return {**value, **lacking, **lists}


def is_host(name: str) -> bool:
    """Whether a plan may have a host of this name."""
    return _HOST.fullmatch(name) is not None


def is_workload(name: str) -> bool:
    """Whether a plan may have a workload of this id."""
    return bool(name) and _CONTROL.search(name) is None


def age_error(plan: _model.Plan, max_age: int, now: str) -> str | None:
    """Why the plan is not of an age to be acted on, None when it is."""
    if _clock.within(plan["created"], max_age, now):
        return None
    age = _clock.age(plan["created"], now)
    if age <= max_age:
        return (
            f"plan {plan['id']} was made at {plan['created']}, and here it is {now}: whichever clock is wrong, its age "
            "is not known; set the clocks and make a new one, or set revalidate to have each workload compared with "
            "what its hosts say now"
        )
    return (
        f"plan {plan['id']} was made at {plan['created']}, {age} seconds ago, and one older than {max_age} seconds is "
        "refused: make a new one, or set revalidate to have each workload compared with what its hosts say now"
    )


def select(plan: _model.Plan, workloads: list[str] | None, waves: list[int] | None) -> list[_model.Move]:
    """The moves of these workloads (by id or name) and waves, all of them without any; a name it lacks is a mistake.

    A workload that moves twice has to be where its second move begins first, so its moves are not of one run.
    """
    known = {word for move in plan["moves"] for word in (move["workload"], move["name"])}
    strangers = [f"plan {plan['id']} does not move {each!r}" for each in workloads or () if each not in known]
    rounds = {move["wave"] for move in plan["moves"]}
    strangers += [f"plan {plan['id']} has no wave {each}" for each in waves or () if each not in rounds]
    if strangers:
        raise PlanError(strangers)
    chosen = [
        move
        for move in plan["moves"]
        if (not workloads or move["workload"] in workloads or move["name"] in workloads)
        and (not waves or move["wave"] in waves)
    ]
    again = sorted(word for word, moves in _journeys(chosen).items() if len(moves) > 1)
    if again:
        who = f"{', '.join(again[:5])}{' and others' if again[5:] else ''}"
        todo = "name the waves of one batch, and go on with the next when these have moved"
        raise PlanError([f"plan {plan['id']} moves {who} more than once: {todo}"])
    return chosen


def again(plan: _model.Plan) -> set[tuple[str, int]]:
    """(workload, wave) of every move that begins where an earlier one ends."""
    return {(word, move["wave"]) for word, moves in _journeys(plan["moves"]).items() for move in moves[1:]}


def _journeys(moves: t.Iterable[_model.Move]) -> dict[str, list[_model.Move]]:
    """The moves of each workload, in order of waves."""
    found: dict[str, list[_model.Move]] = {}
    for move in moves:
        found.setdefault(move["workload"], []).append(move)
    return {word: sorted(of_it, key=lambda one: one["wave"]) for word, of_it in found.items()}


def hosts(moves: t.Iterable[_model.Move]) -> list[str]:
    """Every source and target once, in order of names."""
    return sorted({host for move in moves for host in (move["source"], move["target"])})


def _read(path: str) -> object:
    """JSON only: it keeps strings as they are, where YAML makes numbers and dates of some."""
    try:
        return json.loads(pathlib.Path(path).expanduser().read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise PlanError([f"cannot read the plan {path}: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise PlanError([f"the plan {path} is not JSON, or was cut off: {error}"]) from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A key that stands twice is an editor's mistake; JSON would take the last one without a word."""
    twice = [key for key, count in collections.Counter(key for key, _value in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"these keys stand more than once in one mapping: {', '.join(twice)}")
    return dict(pairs)


def _mistakes(plan: _model.Plan) -> t.Iterator[str]:
    """What no contract of types can see. Every sentence starts with its path below the plan."""
    if not _ID.fullmatch(plan["id"]):
        yield f".id must be at most 128 letters, digits, dots, dashes and underscores, not {plan['id']!r}"
    for number, move in enumerate(plan["moves"]):
        yield from (f".moves[{number}]{end}" for end in _move_mistakes(move))
        for index, device in enumerate(move["devices"]):
            ends = _device_mistakes(device, plan["uuid_policy"])
            yield from (f".moves[{number}].devices[{index}]{end}" for end in ends)
        for index, passed in enumerate(move["passthrough"]):
            ends = _string_mistakes({"device_string": passed["device_string"]})
            yield from (f".moves[{number}].passthrough[{index}]{end}" for end in ends)
    yield from _repeated(plan)
    yield from _torn(plan)


def _move_mistakes(move: _model.Move) -> t.Iterator[str]:
    if not is_workload(move["workload"]):
        yield f".workload must be text without control characters, not {move['workload']!r}"
    for key, host in (("source", move["source"]), ("target", move["target"])):
        if not is_host(host):
            yield f".{key} must be the name of a host with letters, digits, dots, dashes and underscores, not {host!r}"
    if move["source"] == move["target"]:
        yield f".target must be another host than the source, not {move['target']} too"
    if move["wave"] < 1:
        yield f".wave must be 1 or more, not {move['wave']}"
    if not move["devices"] and not move["passthrough"]:
        yield ".devices must have at least one device, or passthrough"


def _device_mistakes(device: _model.PlanDevice, policy: str) -> t.Iterator[str]:
    ident = uuid(device["uuid"])
    if ident is None:
        yield f".uuid must be 8-4-4-4-12 hexadecimal digits, not {device['uuid']!r}"
    elif policy == "same" and ident != uuid(device["source"]):
        yield f".uuid must be that of its source {device['source']} under uuid_policy same, not {ident}"
    elif policy == "new" and ident == uuid(device["source"]):
        yield f".uuid must not be that of its source under uuid_policy new, and both are {ident}"
    yield from _string_mistakes({"type_string": device["type_string"], "device_string": device["device_string"]})
    for number, attribute in enumerate(device["attributes"]):
        error = _order.attribute_error(attribute)
        if error:
            yield f".attributes[{number}].{error}"


def _string_mistakes(strings: dict[str, str | None]) -> t.Iterator[str]:
    for key, string in strings.items():
        if string is not None and not (string and string.isascii()):
            yield f".{key} must be ASCII text that is not empty, or null, not {string!r}"


def _repeated(plan: _model.Plan) -> t.Iterator[str]:
    """What must be there once in a whole plan."""
    seen: dict[tuple[str, ...], str] = {}
    for place, what, *key in _unique(plan):
        first = seen.setdefault((what, *key), place)
        if first != place:
            yield f"{place} is the {what} {' '.join(key)} once more, after {first.lstrip('.')}"


def _unique(plan: _model.Plan) -> t.Iterator[tuple[str, ...]]:
    """Place, what it is, and the words that must differ. A workload leaves a host once, or is stuck there."""
    begun: set[str] = set()
    for number, move in enumerate(plan["moves"]):
        yield f".moves[{number}]", "workload", move["workload"], f"on {move['source']}"
        for index, device in enumerate(move["devices"]):
            place, ident = f".moves[{number}].devices[{index}]", uuid(device["uuid"]) or device["uuid"]
            if plan["uuid_policy"] == "new" or move["workload"] not in begun:
                yield f"{place}.uuid", "UUID", ident
            yield f"{place}.source", "device", f"{move['source']}/{uuid(device['source']) or device['source']}"
        for index, passed in enumerate(move["passthrough"]):
            place = f".moves[{number}].passthrough[{index}]"
            yield f"{place}.source", "device", f"{move['source']}/{uuid(passed['source']) or passed['source']}"
            yield f"{place}.device", "device", f"{move['target']}/{passed['device']}", f"in wave {move['wave']}"
        begun.add(move["workload"])
    for number, stuck in enumerate(plan["stuck"]):
        yield f".stuck[{number}]", "workload", stuck["workload"], f"on {stuck['host']}"


def _torn(plan: _model.Plan) -> t.Iterator[str]:
    """A second move begins with what the first one made, where it made it."""
    places = {id(move): f".moves[{number}]" for number, move in enumerate(plan["moves"])}
    for word, moves in _journeys(plan["moves"]).items():
        for first, second in itertools.pairwise(moves):
            place = places[id(second)]
            if first["wave"] == second["wave"]:
                yield f"{place}.wave must be later than that of {places[id(first)].lstrip('.')}, which moves {word} too"
            if second["source"] != first["target"]:
                yield f"{place}.source must be {first['target']}, where wave {first['wave']} takes {word}"
            made = {uuid(one["uuid"]) for one in first["devices"]} | {one["device"] for one in first["passthrough"]}
            taken = [one["source"] for one in (*second["devices"], *second["passthrough"])]
            if len(taken) != len(made) or any((uuid(one) or one) not in made for one in taken):
                yield f"{place}.devices must have as sources what wave {first['wave']} makes of {word}, and all of it"


def _spelled(plan: _model.Plan) -> _model.Plan:
    def name(text: str) -> _model.Name:
        return _model.Name(uuid(text) or text)

    moves = [
        _model.Move(
            {
                **move,
                "devices": [
                    _model.PlanDevice({**device, "source": name(device["source"]), "uuid": name(device["uuid"])})
                    for device in move["devices"]
                ],
                "passthrough": [
                    _model.PlanPassthrough({**passed, "source": name(passed["source"])})
                    for passed in move["passthrough"]
                ],
            }
        )
        for move in plan["moves"]
    ]
    return _model.Plan({**plan, "moves": moves})
