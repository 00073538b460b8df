# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show and write the report of a whole fleet; documented in ``modules/report.py``."""

from __future__ import annotations

import contextlib
import gzip
import json
import pathlib
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import (
    _contracts,
    _files,
    _fleet,
    _html,
    _markdown,
    _nodes,
    _plan,
    _report,
    _view,
)

NAME = "vfio.migration.report"

PAGE = pathlib.Path(_html.__file__).parent / "report_page"


class _Facts(t.TypedDict):
    """What a report holds beyond pairings, and is read back."""

    facts: list[_report.HostFacts]


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads every host's facts."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Show, write, and fail only if asked to."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            {
                "pairings": {"type": "raw", "required": True},
                "plan": {"type": "raw"},
                "dest": {"type": "path"},
                "html": {"type": "path"},
                "markdown": {"type": "path"},
                "fail_on": {"type": "list", "elements": "str", "default": [], "choices": list(_report.FAIL_ON)},
                "show": {"type": "bool", "default": True},
            }
        )
        files = {key: args[key] for key in ("dest", "html", "markdown")}
        _check_places(files.values())
        pairings = _pairings(args["pairings"])
        hosts = _hosts(pairings, task_vars or {})
        snapshots = {host.name: host.snapshot for host in hosts if host.snapshot}
        verdicts = {host.name: host.verdicts for host in hosts if host.verdicts}
        report = _build(pairings, snapshots, _planned(args["plan"] or pairings.get("plan")), verdicts)
        text = _report.render_text(report, args["dest"])
        if args["show"]:
            # A result with line breaks is shown as escaped JSON; this is shown as it is.
            Display().display(text)
        changed = _pages(report, args, dry=self._task.check_mode)
        if args["dest"]:
            contents = _report.contents(report, snapshots, verdicts)
            changed |= _write(pathlib.Path(args["dest"]), contents, dry=self._task.check_mode)
        failures = _report.failures(report, args["fail_on"])
        shown = None if args["show"] else text.splitlines()
        result.update(changed=changed, text=shown, summary=report["summary"], **files)
        if failures:
            result.update(failed=True, msg=f"The fleet meets conditions of fail_on: {', '.join(failures)}.")
        return result


def _build(
    pairings: _model.Pairings,
    snapshots: dict[str, _model.Snapshot],
    plan: _model.Plan | None,
    verdicts: dict[str, _model.VerdictSet],
) -> _report.Report:
    try:
        return _report.build(pairings, snapshots, plan, verdicts)
    except _contracts.ContractError as error:
        raise AnsibleActionFail(f"{NAME}: the plan's planning.policy: {error}.") from None  # else it is said twice


def _check_places(paths: t.Iterable[str | None]) -> None:
    """Before any of the files is written, so that one mistake does not leave some of them."""
    for path in filter(None, paths):
        problem = _files.obstacle(pathlib.Path(path))
        if problem:
            raise AnsibleActionFail(f"{NAME}: cannot write {path}: {problem}.")


def _pairings(given: object) -> _model.Pairings:
    """Take them as they are, or from the file of that name."""
    where = given if isinstance(given, str) else "pairings"
    value = _read(given) if isinstance(given, str) else given
    errors = _contracts.check(_model.Pairings, value, where)
    if not errors and "facts" in t.cast("dict[str, t.Any]", value):
        errors = _contracts.check(_Facts, value, where)
    if errors:
        raise AnsibleActionFail(f"{NAME}: {'; '.join(errors)}.")
    return t.cast("_model.Pairings", value)


def _planned(given: object) -> _model.Plan | None:
    """Take a plan as it is, or from its file; none is no mistake."""
    if given is None or given == "":
        return None
    try:
        return _plan.load(given)
    except _contracts.ContractError as error:
        raise AnsibleActionFail(f"{NAME}: {error}.") from None  # ansible-core would say it twice


def _read(path: str) -> object:
    try:
        return json.loads(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: cannot read the pairings {path}: {error.strerror}.") from None
    except ValueError as error:
        raise AnsibleActionFail(f"{NAME}: {path} is not JSON: {error}.") from None  # ansible-core would say it twice


def _hosts(pairings: _model.Pairings, task_vars: dict[str, t.Any]) -> list[_nodes.Host]:
    """Read the facts that the matrix is made of: an earlier report has them with it, whatever is known by now; hosts
    that left the inventory since then have none."""
    if "facts" in pairings:
        own = t.cast("_Facts", pairings)["facts"]
        held = {one["host"]: {_nodes.SNAPSHOT: one["snapshot"], _nodes.VERDICTS: one["verdicts"]} for one in own}
        hosts = _nodes.load(held)
        errors = [error for host in hosts for error in (*host.errors, *host.verdict_errors)]
        if errors:
            raise AnsibleActionFail(f"{NAME}: the facts of the report: {'; '.join(errors)}.")
        return hosts
    known = [host["host"] for host in pairings["hosts"] if host["state"] in ("fresh", "cached")]
    return _nodes.load(_fleet.read(task_vars, [host for host in known if host in task_vars["hostvars"]]))


def _pages(report: _report.Report, args: dict[str, t.Any], *, dry: bool) -> bool:
    """Write what people look at; say whether any of it says something else than before."""
    if not (args["html"] or args["markdown"]):
        return False
    fingerprint = _report.fingerprint(report)
    changed = False
    if args["html"]:
        page = _html.render(_view.build(report), fingerprint, assets())
        changed |= _write_page(pathlib.Path(args["html"]), page, fingerprint, dry=dry)
    if args["markdown"]:
        page = _markdown.render(report, fingerprint)
        changed |= _write_page(pathlib.Path(args["markdown"]), page, fingerprint, dry=dry)
    return changed


def assets() -> _html.Assets:
    """Read the files that the page is made of."""
    texts = [(PAGE / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")]
    library = gzip.decompress((PAGE / "vendor" / "echarts.min.js.gz").read_bytes()).decode()
    return _html.Assets(template=texts[0], style=texts[1], library=library, script=texts[2])


def _write_page(path: pathlib.Path, page: str, fingerprint: str, *, dry: bool) -> bool:
    try:
        before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        if not dry:
            _files.write_text(path, [page])
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: cannot write {path}: {error.strerror}.") from None
    return fingerprint not in before


def _write(dest: pathlib.Path, contents: _report.Contents, *, dry: bool) -> bool:
    """Replace the file in one step; say whether more than times differ from the old one."""
    with contextlib.ExitStack() as stack:
        try:
            before: t.Iterable[str] = ()
            if dest.exists():
                # Stays readable after it was replaced. One line at a time, as a large fleet's facts are large.
                before = stack.enter_context(dest.open(encoding="ascii", errors="replace"))
            scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) if dry else dest.parent
            _files.write_json(scratch / dest.name, t.cast("dict[str, t.Any]", contents))
            return _report.differ(before, stack.enter_context((scratch / dest.name).open(encoding="ascii")))
        except OSError as error:
            raise AnsibleActionFail(f"{NAME}: cannot write {dest}: {error.strerror}.") from None
