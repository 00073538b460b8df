# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show and write the report of a whole fleet; documented in ``modules/report.py``."""

from __future__ import annotations

import itertools
import json
import pathlib
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _nodes, _report

NAME = "vfio.migration.report"


class ActionModule(ActionBase):
    """Runs once, on the controller only."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            {
                "pairings": {"type": "path", "required": True},
                "dest": {"type": "path"},
                "fail_on": {"type": "list", "elements": "str", "default": [], "choices": list(_report.FAIL_ON)},
                "show": {"type": "bool", "default": True},
            }
        )
        pairings = _read(args["pairings"])
        hosts = _facts(pairings, task_vars or {})
        snapshots = {host.name: host.snapshot for host in hosts if host.snapshot}
        verdicts = {host.name: host.verdicts for host in hosts if host.verdicts}
        report = _report.build(pairings, snapshots)
        text = _report.render_text(report, args["dest"])
        if args["show"]:
            # A result with line breaks is shown as escaped JSON; this is shown as it is.
            Display().display(text)
        changed = False
        if args["dest"]:
            lines = _report.json_lines(report, snapshots, verdicts)
            changed = _write(pathlib.Path(args["dest"]), lines, dry=self._task.check_mode)
        failures = _report.failures(report["summary"], args["fail_on"])
        result.update(changed=changed, text=text.splitlines(), summary=report["summary"], dest=args["dest"])
        if failures:
            result.update(failed=True, msg=f"The fleet meets conditions of fail_on: {', '.join(failures)}.")
        return result


def _read(path: str) -> _model.Pairings:
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: can not read the pairings {path}: {error.strerror}.") from error
    except ValueError as error:
        raise AnsibleActionFail(f"{NAME}: {path} is not JSON: {error}.") from error
    errors = _contracts.check(_model.Pairings, found, path)
    if errors:
        raise AnsibleActionFail(f"{NAME}: {'; '.join(errors)}.")
    return t.cast("_model.Pairings", found)


def _facts(pairings: _model.Pairings, task_vars: dict[str, t.Any]) -> list[_nodes.Host]:
    """Pick the facts of every host that the matrix is made of; untemplated, for they hold opaque strings."""
    hostvars = task_vars["hostvars"]
    names = [one["host"] for one in pairings["hosts"] if one["state"] in ("fresh", "cached")]
    return _nodes.load({name: hostvars.raw_get(name).get("ansible_facts") for name in names if name in hostvars})


def _write(dest: pathlib.Path, pieces: t.Iterator[str], *, dry: bool) -> bool:
    """Replace the file in one step; say whether more than times differ from the old one."""
    try:
        handle, name = tempfile.mkstemp(dir=None if dry else dest.parent, prefix=f".{dest.name}.")
        new = pathlib.Path(name)
        try:
            with open(handle, "w", encoding="ascii") as file:
                file.writelines(pieces)
            changed = _differs(dest, new)
            if not dry:
                new.chmod(dest.stat().st_mode & 0o777 if dest.exists() else 0o600)
                new.replace(dest)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: can not write {dest}: {error.strerror}.") from error
    return changed


def _differs(old: pathlib.Path, new: pathlib.Path) -> bool:
    if not old.exists():
        return True
    with old.open(encoding="ascii", errors="replace") as before, new.open(encoding="ascii") as after:
        pairs = itertools.zip_longest(before, after, fillvalue="")
        return any(one != two and _report.timeless(one) != _report.timeless(two) for one, two in pairs)
