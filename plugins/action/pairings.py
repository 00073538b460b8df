# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of a whole fleet; documented in ``modules/pairings.py``."""

from __future__ import annotations

import pathlib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.vfio.migration.plugins.module_utils._model import Pairings
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _files, _fleet, _pairing, _readiness
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError

NAME = "vfio.migration.pairings"


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads every host's facts."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the fleet, write the matrix, return it in numbers."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str"},
                "fresh_hosts": {"type": "list", "elements": "str"},
                "gathered": {"type": "str"},
                "max_age": {"type": "int", "default": 86400},
                "sources": {"type": "str", "choices": ["devices", "all"], "default": "devices"},
                "dest": {"type": "path"},
            }
        )
        dest = args["dest"]
        problem = _files.obstacle(pathlib.Path(dest)) if dest else None
        if problem:
            raise AnsibleActionFail(f"{NAME}: cannot write {dest}: {problem}.")
        matrix = _pair(task_vars or {}, args)
        result.update(
            changed=_write(pathlib.Path(dest), matrix, dry=self._task.check_mode) if dest else False,
            summary=_readiness.summary(matrix, *_readiness.standings(matrix)),
            partial=matrix["partial"],
            dest=dest,
            # Where nothing was written, because there is no file or this is check mode, the matrix itself is needed.
            pairings=None if dest and not self._task.check_mode else matrix,
        )
        return result


def _pair(fleet: dict[str, t.Any], args: dict[str, t.Any]) -> Pairings:
    hosts = _fleet.every_host(fleet) if args["hosts"] is None else args["hosts"]
    fresh = _fleet.reached(fleet, args["gathered"]) if args["fresh_hosts"] is None else args["fresh_hosts"]
    try:
        facts = _fleet.read(fleet, hosts)
        return _pairing.pairings(facts, args["max_age"], _clock.now(), args["sources"], fresh)
    except ContractError as error:
        raise AnsibleActionFail(f"{NAME}: {error}.") from None  # ansible-core would say it twice


def _write(dest: pathlib.Path, matrix: Pairings, *, dry: bool) -> bool:
    """Write the matrix; say whether it differs from the one before in more than times."""
    try:
        before = _files.read_json(dest)
        if not dry:
            _files.write_json(dest, t.cast("dict[str, t.Any]", matrix))
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: cannot write {dest}: {error.strerror}.") from None
    return not _pairing.same_but_for_times(before, matrix)
