# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the JSON schemas of all that passes between two stages from their contracts: ``./dev schema``.

Editors and other tools check files and facts with them. What relates several values (UUIDs of a plan that must differ,
source and target) only ``plugin_utils/_plan.py`` checks.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import sys
import types
import typing as t
from pathlib import Path

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan, _report

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
CONTRACTS: dict[str, type] = {
    "snapshot": _model.Snapshot,
    "verdicts": _model.VerdictSet,
    "pairings": _model.Pairings,
    "plan": _model.Plan,
    "ledger": _model.Ledger,
    "report": _report.Contents,
}

Schema = dict[str, t.Any]

# The rules of _contracts.py. No anchors: they differ between the languages that read a schema.
_LEAVES: dict[t.Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    _model.Name: {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": r"""[\u0000-\u001f\u007f`$;|&<>"'\\/]"""}]},
    },
    _model.Timestamp: {
        "type": "string",
        "minLength": 20,
        "maxLength": 20,
        "pattern": r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z",
    },
}


def schema(contract: type) -> Schema:
    """The schema of a contract and of all that it holds, with the descriptions that stand in the code."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"vfio.migration {name(contract)}"}
    return {**head, **_record(contract)}


def name(contract: type) -> str:
    """What its files are called."""
    return next(known for known, one in CONTRACTS.items() if one is contract).capitalize()


def _of(hint: t.Any) -> Schema:
    if hint in _LEAVES:
        return dict(_LEAVES[hint])
    if isinstance(hint, type) and t.is_typeddict(hint):
        return _record(hint)
    origin, inner = t.get_origin(hint), t.get_args(hint)
    if origin is list:
        return {"type": "array", "items": _of(inner[0])}
    if origin is t.Literal:
        return {"enum": list(inner)}
    if origin is dict:
        values = {} if inner[1] is t.Any else {"additionalProperties": _of(inner[1])}
        return {"type": "object", **values}
    if origin in (t.Union, types.UnionType) and inner[1:] == (type(None),):
        return {"anyOf": [_of(inner[0]), {"type": "null"}]}
    raise TypeError(f"no schema for {hint}")


def _record(contract: type) -> Schema:
    hints = t.get_type_hints(contract)
    said = _descriptions(contract)
    fields = {
        field: {**_of(hint), **({"description": said[field]} if field in said else {})} for field, hint in hints.items()
    }
    if "schema_version" in fields:
        fields["schema_version"] = {"const": _model.SCHEMA_VERSION}
    return {
        "type": "object",
        "description": " ".join((inspect.getdoc(contract) or "").split()),
        "properties": fields,
        "required": [field for field in hints if field not in _plan.MAY_LACK.get(contract, {})],
    }


@functools.cache
def _classes(module: types.ModuleType) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)}


def _descriptions(record: type) -> dict[str, str]:
    """The texts that follow the fields of a record, and of the record that it extends."""
    module = sys.modules[record.__module__]
    written = _classes(module)[record.__name__]
    said: dict[str, str] = {}
    for one in written.bases:  # Python 3.11 forgets what a TypedDict was made of
        base = functools.reduce(getattr, ast.unparse(one).split("."), t.cast("t.Any", module))
        if t.is_typeddict(base):
            said.update(_descriptions(base))
    for node, text in itertools.pairwise(written.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(text, ast.Expr):
            said[node.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return said


def rendered(contract: type) -> str:
    return json.dumps(schema(contract), indent=2) + "\n"


def path(contract: type) -> Path:
    """Where its schema is published."""
    return FOLDER / f"{name(contract).lower()}.schema.json"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for contract in CONTRACTS.values():
        path(contract).write_text(rendered(contract), encoding="ascii")
        print(f"Wrote {path(contract)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
