# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the JSON schema of plan files from their contract in ``_model.py``: ``./dev schema``.

Editors and other tools check a plan with it. What relates several values (UUIDs that must differ, source and target)
only ``plugin_utils/_plan.py`` checks.
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
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan

DEST = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "plan.schema.json"

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
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"vfio.migration {contract.__name__}"}
    return {**head, **_record(contract)}


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
        return {"type": "object"}
    if origin in (t.Union, types.UnionType) and inner[1:] == (type(None),):
        return {"anyOf": [_of(inner[0]), {"type": "null"}]}
    raise TypeError(f"no schema for {hint}")


def _record(contract: type) -> Schema:
    hints = t.get_type_hints(contract)
    said = _descriptions(contract.__name__)
    fields = {
        name: {**_of(hint), **({"description": said[name]} if name in said else {})} for name, hint in hints.items()
    }
    if "schema_version" in fields:
        fields["schema_version"] = {"const": _model.SCHEMA_VERSION}
    return {
        "type": "object",
        "description": " ".join((inspect.getdoc(contract) or "").split()),
        "properties": fields,
        "required": [name for name in hints if name not in _plan.MAY_LACK.get(contract, {})],
    }


@functools.cache
def _model_tree() -> ast.Module:
    return ast.parse(inspect.getsource(_model))


def _descriptions(record: str) -> dict[str, str]:
    """The texts that follow the fields of a record."""
    body = next(node.body for node in _model_tree().body if isinstance(node, ast.ClassDef) and node.name == record)
    return {
        node.target.id: " ".join(str(ast.literal_eval(text.value)).split())
        for node, text in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(text, ast.Expr)
    }


def rendered() -> str:
    return json.dumps(schema(_model.Plan), indent=2) + "\n"


def main() -> int:
    DEST.parent.mkdir(parents=True, exist_ok=True)
    DEST.write_text(rendered(), encoding="ascii")
    print(f"Wrote {DEST}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
