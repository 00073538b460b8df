# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two modules for hosts as Ansible runs them: parameters in, JSON out."""

from __future__ import annotations

import json
import os
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.vfio.migration.plugins.modules import compatibility_facts, vfio_facts

PARENT = "0000:00:02.0"
TYPE = "i915-GVTg_V5_4"
STRING = "8086-591d-GVTg_V5_4-00000001"
NODE = "devices/pci0000:00/%s/mdev_supported_types/%s/migration_version" % (PARENT, TYPE)
REQUEST = {"scope": "type", "parent": PARENT, "type": TYPE, "string": STRING, "vendor": "pci:8086", "source_type": TYPE}


class Run(t.NamedTuple):
    """How a module ended."""

    code: t.Any
    result: t.Dict[str, t.Any]


Runner = t.Callable[..., Run]


@pytest.fixture
def run(host: t.Any, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Runs a module on the host made of plain files."""

    def start(module: t.Any, check_mode: bool = False, **params: t.Any) -> Run:
        roots = {"sysfs_root": str(host.sys), "proc_root": str(host.proc)}
        with patch_module_args(dict(roots, _ansible_check_mode=check_mode, **params)), pytest.raises(SystemExit) as end:
            module.main()
        return Run(end.value.code, json.loads(capsys.readouterr().out))

    return start


def test_vfio_facts_returns_one_fact_and_nothing_else(run: Runner) -> None:
    code, result = run(vfio_facts)
    assert code == 0
    # Up to core 2.20 the parameters come along.
    assert sorted(set(result) - {"invocation"}) == ["ansible_facts", "changed"]
    assert result["changed"] is False
    assert list(result["ansible_facts"]) == ["vfio_migration"]
    assert result["ansible_facts"]["vfio_migration"]["parents"][0]["types"][0]["migration_version"]["value"] == STRING
    assert result["ansible_facts"]["vfio_migration"]["host"] == os.uname().nodename


def test_compatibility_facts_returns_one_fact_and_nothing_else(run: Runner) -> None:
    code, result = run(compatibility_facts, requests=[REQUEST])
    assert code == 0
    # Up to core 2.20 the parameters come along.
    assert sorted(set(result) - {"invocation"}) == ["ansible_facts", "changed"]
    assert list(result["ansible_facts"]) == ["vfio_migration_verdicts"]
    assert [verdict["verdict"] for verdict in result["ansible_facts"]["vfio_migration_verdicts"]["verdicts"]] == [
        "compatible"
    ]


@pytest.mark.fault("P10")
def test_check_mode_leaves_the_node_alone(run: Runner, host: t.Any) -> None:
    before = os.stat(str(host.sys / NODE)).st_mtime_ns
    found = run(compatibility_facts, check_mode=True, requests=[dict(REQUEST, string="other")]).result
    assert os.stat(str(host.sys / NODE)).st_mtime_ns == before
    assert (host.sys / NODE).read_bytes() == STRING.encode() + b"\n"
    verdicts = found["ansible_facts"]["vfio_migration_verdicts"]
    assert [request["string"] for request in verdicts["would_write"]] == ["other"]


@pytest.mark.fault("R13")
@pytest.mark.parametrize("string", [" 0x10 ", "{{ 1+1 }}", "yes", "1e3", "'\"", "null", "[1]", "x" * 4094])
def test_strings_pass_through_parameters_and_result(run: Runner, host: t.Any, string: str) -> None:
    found = run(compatibility_facts, requests=[dict(REQUEST, string=string)]).result
    verdict = found["ansible_facts"]["vfio_migration_verdicts"]["verdicts"][0]
    assert verdict["string"] == string
    written = (host.sys / NODE).read_bytes()
    assert written[: len(string)] == string.encode()


@pytest.mark.fault("R13")
@pytest.mark.parametrize("value", [16, True, 1e3, ["a"], None])
def test_string_that_is_no_text_is_refused_not_rewritten(run: Runner, host: t.Any, value: t.Any) -> None:
    """An unquoted 0x10 or yes of a playbook comes as a number or a boolean."""
    code, result = run(compatibility_facts, requests=[dict(REQUEST, string=value)])
    assert code == 1
    assert "string" in result["msg"]
    assert (host.sys / NODE).read_bytes() == STRING.encode() + b"\n"


@pytest.mark.fault("R13")
def test_address_that_yaml_took_for_a_number_is_refused(run: Runner) -> None:
    """Of an unquoted 0000:00:02.0 it makes 2.0, a device that is nowhere."""
    code, result = run(compatibility_facts, requests=[dict(REQUEST, parent=2.0)])
    expected = "requests[0].parent must be text, in quotes where YAML takes it for something else, not 2.0"
    assert (code, result["errors"]) == (1, [expected])


@pytest.mark.fault("L10")
def test_hostile_requests_are_all_listed_and_nothing_is_asked(run: Runner, host: t.Any) -> None:
    bad = [dict(REQUEST, parent="../../x"), dict(REQUEST, type="/etc"), dict(REQUEST, string="other")]
    code, result = run(compatibility_facts, requests=bad)
    assert code == 1
    assert [error.split()[0] for error in result["errors"]] == ["requests[0].parent", "requests[1].type"]
    assert "nothing was asked" in result["msg"]
    assert (host.sys / NODE).read_bytes() == STRING.encode() + b"\n"


BAD_OPTIONS = [
    ({"sysfs_root": "relative"}, "sysfs_root must be an absolute path"),
    ({"proc_root": "/does/not/exist"}, "proc_root is not a directory on this host: /does/not/exist"),
    ({"read_timeout": 0}, "read_timeout must be a number of seconds above 0, not 0"),
    ({"deadline": -1}, "deadline must be a number of seconds above 0, not -1"),
    ({"device_attribute": "../{bus}"}, "must be a path below sysfs_root"),
    ({"device_attribute": "{host}"}, "only {bus} and {address} may stand in braces"),
]


@pytest.mark.parametrize("module", [vfio_facts, compatibility_facts])
@pytest.mark.parametrize(("params", "message"), BAD_OPTIONS)
def test_bad_options_are_one_clear_error(run: Runner, module: t.Any, params: t.Dict[str, t.Any], message: str) -> None:
    needed: t.Dict[str, t.Any] = {"requests": []} if module is compatibility_facts else {}
    code, result = run(module, **dict(needed, **params))
    assert code == 1
    assert result["msg"].startswith("vfio.migration." + module.__name__.rsplit(".", 1)[1] + ": ")
    assert message in result["msg"]
