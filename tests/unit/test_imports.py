# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import contract: which room of the collection may know which.

Data flows one way, and so do imports. Hosts run Python 3.8 with the standard library; only one file opens sysfs.
"""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PREFIX = "ansible_collections.vfio.migration.plugins."

# Rooms (or single files) that a room may import from, apart from the standard library and what OUTSIDE allows.
MAY_IMPORT = {
    "module_utils": {"module_utils"},
    "modules": {"module_utils"},
    "plugin_utils": {"plugin_utils", "module_utils"},
    "plugin_utils/planner": {"plugin_utils", "module_utils._model"},
    "filter": {"plugin_utils", "module_utils._model"},
    "action": {"plugin_utils", "module_utils._model"},
    "callback": {"plugin_utils"},
    "doc_fragments": set[str](),
}

OUTSIDE = {
    "module_utils": {"ansible.module_utils.basic", "libvirt", "pyudev"},
    "modules": {"ansible.module_utils.basic"},
    "plugin_utils": {"ansible"},
    "plugin_utils/planner": {"highspy", "numpy"},
    "filter": {"ansible"},
    "action": {"ansible"},
    "callback": {"ansible"},
    "doc_fragments": set[str](),
}

# Third-party packages that a host may lack: imported where an ImportError is caught.
GUARDED = {"libvirt", "pyudev"}

# The planner answers the same for the same facts, whatever the time, the machine or the luck.
NOT_PURE = {
    *("asyncio", "datetime", "glob", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "socket"),
    *("subprocess", "tempfile", "threading", "time"),
}

# Functions that may open files, per host-side file; None: all. Only _sysfs opens sysfs; the others open /proc,
# /dev/null or the ledger, and take no path below sysfs.
MAY_OPEN: dict[str, set[str] | None] = {
    "_sysfs": None,
    "_workloads": None,
    "_guard": {"_serve"},
    "_host": {"options"},  # is the given root a directory at all?
    "_reader": {"boot_id"},
    "_domain_xml": {"_read"},
    "_libvirt": {"_domain_files", "_domain"},
    "_ledger": {"__enter__", "read", "_save", "_sync_folder"},
    "_claims": {"holder", "_lock", "_owner"},
}

OPENERS = {
    *("open", "io.open", "glob.glob", "glob.iglob", "pathlib.Path", "Path"),
    *("os.open", "os.listdir", "os.scandir", "os.readlink", "os.stat", "os.lstat", "os.walk", "os.access"),
    *("os.path.exists", "os.path.isfile", "os.path.isdir", "os.path.islink", "os.path.realpath"),
}


class Import(t.NamedTuple):
    name: str
    guarded: bool


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (PLUGINS / room).glob("*.py"))


def room(path: Path) -> str:
    return path.parent.relative_to(PLUGINS).as_posix()


def label(path: Path) -> str:
    return f"{room(path)}/{path.name}"


def imports(path: Path) -> list[Import]:
    """All that a file imports, by full name; guarded means that an ImportError of it is caught."""
    found: list[Import] = []

    def visit(node: ast.AST, guarded: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            assert not node.level, f"{label(path)}: relative imports hide where a file stands"
            names = [f"{base}.{alias.name}" for alias in node.names]
            found.extend(Import(name if _is_file(name) else base, guarded) for name in names)
        catches = isinstance(node, ast.Try) and any(_catches_import_error(handler) for handler in node.handlers)
        for child in ast.iter_child_nodes(node):
            visit(child, guarded or catches)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def _is_file(name: str) -> bool:
    if not name.startswith(PREFIX):
        return False
    return PLUGINS.joinpath(*name[len(PREFIX) :].split(".")).with_suffix(".py").is_file()


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and "ImportError" in ast.unparse(handler.type)


def allowed_by(rooms: set[str], name: str) -> bool:
    inside = name[len(PREFIX) :]
    return inside in rooms or inside.partition(".")[0] in rooms


def reached(path: Path) -> set[str]:
    """Every file of the collection that importing this one loads."""
    todo, seen = [path], set[str]()
    while todo:
        for name in (one.name for one in imports(todo.pop())):
            if name.startswith(PREFIX) and name not in seen:
                seen.add(name)
                todo.append(PLUGINS.joinpath(*name[len(PREFIX) :].split(".")).with_suffix(".py"))
    return seen


def opening_calls(path: Path) -> list[tuple[str, str]]:
    """Calls that open or look up a path: the function they stand in, and what they call."""
    found: list[tuple[str, str]] = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Call) and ast.unparse(node.func) in OPENERS:
            found.append((function, ast.unparse(node.func)))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text(encoding="utf-8")), "<module>")
    return found


@pytest.mark.parametrize("path", sources(*MAY_IMPORT), ids=label)
def test_rooms_are_imported_one_way(path: Path) -> None:
    own = [one.name for one in imports(path) if one.name.startswith(PREFIX)]
    assert [name for name in own if not allowed_by(MAY_IMPORT[room(path)], name)] == []


@pytest.mark.parametrize("path", sources(*OUTSIDE), ids=label)
def test_outside_the_standard_library_only_what_the_room_allows(path: Path) -> None:
    allowed = OUTSIDE[room(path)]
    foreign = [
        one
        for one in imports(path)
        if not one.name.startswith(PREFIX) and one.name.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert [one.name for one in foreign if one.name not in allowed and one.name.partition(".")[0] not in allowed] == []
    assert [one.name for one in foreign if one.name.partition(".")[0] in GUARDED and not one.guarded] == []


def test_the_contracts_know_nobody() -> None:
    assert {one.name for one in imports(PLUGINS / "module_utils" / "_model.py")} == {"__future__", "typing"}


@pytest.mark.parametrize("path", sources("plugin_utils/planner"), ids=label)
def test_the_planner_is_pure(path: Path) -> None:
    assert [one.name for one in imports(path) if one.name.partition(".")[0] in NOT_PURE] == []
    assert opening_calls(path) == []


CHECKER = sorted((PLUGINS / "plugin_utils" / "planner").glob("_checker*.py"))


@pytest.mark.parametrize("path", CHECKER, ids=label)
def test_the_checker_shares_nothing_with_what_makes_plans(path: Path) -> None:
    planner = f"{PREFIX}plugin_utils.planner."
    allowed = {f"{PREFIX}module_utils._model", f"{planner}_policy", *(planner + each.stem for each in CHECKER)}
    assert {one.name for one in imports(path) if one.name.startswith(PREFIX)} <= allowed


def test_the_checker_is_there() -> None:
    assert [path.name for path in CHECKER] == ["_checker.py", "_checker_rooms.py"]


@pytest.mark.parametrize("path", sources("filter", "plugin_utils", "plugin_utils/planner"), ids=label)
def test_the_controller_side_never_loads_sysfs(path: Path) -> None:
    assert f"{PREFIX}module_utils._sysfs" not in reached(path)


@pytest.mark.parametrize("path", sources("modules", "module_utils"), ids=label)
def test_only_sysfs_opens_sysfs(path: Path) -> None:
    calls = opening_calls(path)
    allowed = MAY_OPEN.get(path.stem, set())
    assert [call for call in calls if allowed is not None and call[0] not in allowed] == []


@pytest.mark.parametrize("path", sources("modules", "module_utils"), ids=label)
def test_hosts_of_python_3_8_can_parse_it(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert tree.body


def test_every_room_is_under_the_contract() -> None:
    rooms = {room(path) for path in PLUGINS.rglob("*.py")}
    assert rooms <= set(MAY_IMPORT)
