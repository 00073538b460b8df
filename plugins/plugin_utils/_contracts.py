# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks values from hosts, caches and people against the contracts of ``module_utils/_model.py``.

Each ``TypedDict`` is compiled once into two sets of nested functions, so that the contracts are written down in one
place only: checkers look at one value and say all that is wrong with it, columns look at the same field of many values
at once and only say whether all are good. As nearly all facts are, and columns are several times faster, those go
first.

This file is private to the collection. It knows neither Ansible nor any file.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
import types
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock

SHOWN_ERRORS = 20
MEMORY = 65536
"""Values of one kind that are remembered as good."""

Seconds = t.NewType("Seconds", int)
"""A span of time in the options of a plugin."""

Checker = t.Callable[[object], t.Sequence[str]]
"""Takes a value, returns what is wrong with it as the ends of sentences that its container puts the path before:
``[0].address must be a string, not int``. Paths thus cost nothing as long as nothing is wrong."""

Column = t.Callable[[t.Sequence[t.Any]], bool]
"""Takes the values of one field of many records, returns whether a checker would find nothing wrong with any."""

_NO_ERRORS: t.Sequence[str] = ()
_KINDS = {bool: "boolean", int: "int", float: "float", str: "string", list: "list", dict: "mapping", type(None): "null"}

# A name is also a word in messages, unit files and commands that people copy: control characters and what a shell
# would act on are refused here as well, no driver has them in a name.
_HOSTILE = re.compile(r"""[\x00-\x1f\x7f`$;|&<>"'\\]""")


class ContractError(ValueError):
    """The input as a whole breaks its contract; the text names the path."""


def kind(value: object) -> str:
    """What to call a value's type, for ansible-core's tagged subclasses as well."""
    return next((name for base, name in _KINDS.items() if isinstance(value, base)), type(value).__name__)


def check(contract: type, value: object, where: str) -> list[str]:
    """All violations of a contract, each a sentence that starts with its path below ``where``.

    Keys the contract does not name are let pass. Only the first ``SHOWN_ERRORS`` are spelled out, then a count.
    """
    if isinstance(value, dict) and "schema_version" in _hints(contract):
        version = value.get("schema_version")
        if isinstance(version, int) and version != _model.SCHEMA_VERSION:
            # Whatever else differs follows from this one, so nothing else is said.
            return [f"{where}.schema_version must be {_model.SCHEMA_VERSION}, not {version}: {_again(contract)}"]
    if all_good(contract, [value]):
        return []
    errors = [f"{where}{end}" for end in _compile(contract)(value)]
    if len(errors) > SHOWN_ERRORS:
        errors[SHOWN_ERRORS:] = [f"{where} has {len(errors) - SHOWN_ERRORS} more errors"]
    return errors


def all_good(contract: type, values: t.Sequence[t.Any]) -> bool:
    """Whether ``check`` would find nothing wrong with any of these. A few at a time are faster than one by one."""
    try:
        if not _column(contract)(values):
            return False
    except (KeyError, TypeError):
        return False  # a field is missing, or has a value that cannot be in a set
    return all(value.get("schema_version", _model.SCHEMA_VERSION) == _model.SCHEMA_VERSION for value in values)


def _again(contract: type) -> str:
    """How to get one of this version."""
    ways = {_model.Plan: "make a new plan", _model.Pairings: "run the readiness playbook again"}
    return ways.get(contract, "gather these facts again")


def require(contract: type, options: dict[str, object]) -> None:
    """Check the options of a plugin; raises ContractError with everything that is wrong."""
    errors = [end.lstrip(".") for end in _compile(contract)(options)]
    if errors:
        raise ContractError("; ".join(errors))


@functools.cache
def _hints(contract: type) -> dict[str, t.Any]:
    return t.get_type_hints(contract)


@functools.cache
def _compile(hint: t.Hashable) -> Checker:
    if hint in _LEAVES:
        return _LEAVES[hint]
    if isinstance(hint, type) and t.is_typeddict(hint):
        return _record(hint)
    origin, inner = t.get_origin(hint), t.get_args(hint)
    if origin is list:
        return _list(_compile(inner[0]))
    if origin is t.Literal:
        return _literal(inner)
    if origin is dict:
        return _mapping
    if origin in (t.Union, types.UnionType) and inner[1:] == (type(None),):
        return _optional(_compile(inner[0]))
    raise TypeError(f"no checker for {hint}")


def _text(value: object) -> t.Sequence[str]:
    return _NO_ERRORS if isinstance(value, str) else [f" must be a string, not {kind(value)}"]


def _number(value: object) -> t.Sequence[str]:
    if isinstance(value, int) and not isinstance(value, bool):
        return _NO_ERRORS
    return [f" must be an int, not {kind(value)}"]


def _seconds(value: object) -> t.Sequence[str]:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return [f" must not be negative, not {value}"]
    return _number(value)


def _mapping(value: object) -> t.Sequence[str]:
    """What is in it only its reader knows."""
    return _NO_ERRORS if isinstance(value, dict) else [f" must be a mapping, not {kind(value)}"]


def _boolean(value: object) -> t.Sequence[str]:
    return _NO_ERRORS if isinstance(value, bool) else [f" must be a boolean, not {kind(value)}"]


def _name_error(value: str) -> str | None:
    error = _model.name_error(value)
    if error is None and _HOSTILE.search(value):
        error = "must be a name without control characters and shell text"
    return error


def _name(value: object) -> t.Sequence[str]:
    if not isinstance(value, str):
        return _text(value)
    error = _name_error(value)
    return _NO_ERRORS if error is None else [f" {error}, not {_shown(value)}"]


def _timestamp(value: object) -> t.Sequence[str]:
    if not isinstance(value, str):
        return _text(value)
    try:
        _clock.seconds(value)
    except ValueError:
        return [f" must be a UTC time like 2026-11-22T19:04:14Z, not {_shown(value)}"]
    return _NO_ERRORS


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:60]}...")


def _literal(allowed: tuple[str, ...]) -> Checker:
    choices = frozenset(allowed)

    def literal(value: object) -> t.Sequence[str]:
        if isinstance(value, str) and value in choices:
            return _NO_ERRORS
        shown = _shown(value) if isinstance(value, str) else kind(value)
        return [f" must be one of {', '.join(allowed)}, not {shown}"]

    return literal


def _optional(inner: Checker) -> Checker:
    def optional(value: object) -> t.Sequence[str]:
        return _NO_ERRORS if value is None else inner(value)

    return optional


def _list(inner: Checker) -> Checker:
    def items(value: object) -> t.Sequence[str]:
        if not isinstance(value, list):
            return [f" must be a list, not {kind(value)}"]
        errors: list[str] = []
        for number, item in enumerate(value):
            found = inner(item)
            if found:
                errors += [f"[{number}]{end}" for end in found]
        return errors

    return items


def _record(contract: type) -> Checker:
    fields = [(name, _compile(hint)) for name, hint in _hints(contract).items()]
    rule = _RULES.get(contract)

    def record(value: object) -> t.Sequence[str]:
        if not isinstance(value, dict):
            return [f" must be a mapping, not {kind(value)}"]
        errors: list[str] = []
        for name, checker in fields:
            if name in value:
                errors += [f".{name}{end}" for end in checker(value[name])]
            else:
                errors.append(f".{name} is missing")
        if errors or rule is None:
            return errors
        return rule(value)

    return record


@functools.cache
def _column(hint: t.Hashable) -> Column:
    if isinstance(hint, type) and t.is_typeddict(hint):
        return _records(hint)
    origin, inner = t.get_origin(hint), t.get_args(hint)
    if origin is list:
        return _lists(_column(inner[0]))
    plain = inner[0] if inner[1:] == (type(None),) else hint
    if plain in (str, int, bool):
        return _by_type(_compile(hint))
    if plain in (_model.Name, _model.Timestamp) or t.get_origin(plain) is t.Literal:
        return _by_value(_compile(hint))
    if plain is not hint:
        those = _column(plain)
        return lambda values: those([value for value in values if value is not None])
    checker = _compile(hint)
    return lambda values: not any(map(checker, values))


def _by_type(checker: Checker) -> Column:
    """A type that was good once always is; ansible-core's tagged subclasses join them when they are met."""
    known: set[type] = set()

    def column(values: t.Sequence[t.Any]) -> bool:
        if known.issuperset(map(type, values)):
            return True
        if any(map(checker, values)):
            return False
        known.update(map(type, values))
        return True

    return column


def _by_value(checker: Checker) -> Column:
    """Hosts of a fleet repeat each other's names, so each is looked at once."""
    known: set[t.Hashable] = set()

    def column(values: t.Sequence[t.Any]) -> bool:
        if known.issuperset(values):
            return True
        new = set(values) - known
        if any(map(checker, new)):
            return False
        if len(known) < MEMORY:
            known.update(new)
        return True

    return column


def _lists(inner: Column) -> Column:
    are_lists = _by_type(_list(lambda _item: _NO_ERRORS))
    return lambda values: are_lists(values) and inner(list(itertools.chain.from_iterable(values)))


def _records(contract: type) -> Column:
    fields = [(operator.itemgetter(name), _column(hint)) for name, hint in _hints(contract).items()]
    are_mappings = _by_type(_mapping)
    rule, looks_at = _RULES.get(contract), _LOOKS_AT.get(contract)

    def column(values: t.Sequence[t.Any]) -> bool:
        if not (are_mappings(values) and all(field(list(map(get, values))) for get, field in fields)):
            return False
        different = dict(zip(map(looks_at, values), values, strict=True)).values() if looks_at else values
        return not (rule and any(map(rule, different)))

    return column


def _attribute_rule(value: _model.Attribute) -> t.Sequence[str]:
    if value["status"] == "ok" and not value["value"]:
        return [".value must be a string that is not empty when status is ok"]
    return _NO_ERRORS


def _path_rule(value: t.Mapping[str, t.Any]) -> t.Sequence[str]:
    path = value["path"]
    if path.startswith("/") or "\0" in path or (".." in path and ".." in path.split("/")):
        return [f".path must be below the sysfs root, not {_shown(path)}"]
    return _NO_ERRORS


def _device_rule(value: _model.Device) -> t.Sequence[str]:
    if value["kind"] == "mdev":
        # One that is half created, or hangs, does not say of which type it is; then it gives no string either.
        untyped = value["type"] is None and value["migration_version"]["status"] == "ok"
        if value["parent"] is None or untyped:
            return [" of kind mdev must have a parent, and a type when its migration_version is ok"]
    return _path_rule(t.cast("t.Mapping[str, t.Any]", value))


def _node_rule(value: t.Mapping[str, t.Any]) -> t.Sequence[str]:
    if value["scope"] == "type" and (value["parent"] is None or value["type"] is None):
        return [" of scope type must have a parent and a type"]
    if (value["scope"] == "device") != (value["device"] is not None):
        return [" must name a device when its scope is device, and only then"]
    return _NO_ERRORS


_LEAVES: dict[t.Any, Checker] = {
    str: _text,
    int: _number,
    bool: _boolean,
    Seconds: _seconds,
    _model.Name: _name,
    _model.Timestamp: _timestamp,
}
_RULES: dict[t.Any, t.Callable[[t.Any], t.Sequence[str]]] = {
    _model.Attribute: _attribute_rule,
    _model.Parent: _path_rule,
    _model.Device: _device_rule,
    _model.Request: _node_rule,
    _model.Verdict: _node_rule,
}
_LOOKS_AT: dict[t.Any, t.Callable[[t.Any], t.Hashable]] = {
    _model.Verdict: operator.itemgetter("scope", "parent", "type", "device"),
}
"""What the rule of a contract depends on, where many records share it: then it is applied once for all of them."""
