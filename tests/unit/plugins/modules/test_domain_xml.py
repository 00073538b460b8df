# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it, without any libvirt; tests/integration/libvirt has the rest."""

from __future__ import annotations

import json
import sys
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.vfio.migration.plugins.modules import domain_xml

OLD, NEW = "11111111-2222-3333-4444-555555555555", "eeeeeeee-2222-3333-4444-555555555555"
VM: t.Dict[str, t.Any] = {"workload": "web1", "mdevs": [{"source": OLD, "target": NEW}]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., t.Tuple[t.Any, t.Any]]:
    def start(**params: t.Any) -> t.Tuple[t.Any, t.Any]:
        with patch_module_args(dict({"domains": [VM], "dest": "/xml"}, **params)), pytest.raises(SystemExit) as end:
            domain_xml.main()
        return end.value.code, json.loads(capsys.readouterr().out)

    return start


@pytest.mark.fault("V1")
def test_host_without_the_binding_tells_so_for_each_vm(
    run: t.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    code, result = run(domains=[VM, dict(VM, workload="db1")])
    assert (code, result["changed"]) == (0, False)
    assert [(one["workload"], one["ok"], one["reason"]) for one in result["domains"]] == [
        ("web1", False, "no_binding"),
        ("db1", False, "no_binding"),
    ]
    assert result["domains"][0]["msg"].endswith("has no libvirt binding; install python3-libvirt")


BAD: t.List[t.Any] = [
    ({"dest": "here"}, "dest must be an absolute path"),
    ({"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
    ({"domains": [dict(VM, workload="")]}, "domains[0].workload must name a VM"),
    (
        {"domains": [dict(VM, mdevs=[{"source": OLD, "target": "' onload='"}])]},
        "domains[0].mdevs[0].target must be a UUID, not \"' onload='\"",
    ),
]


@pytest.mark.parametrize(("params", "message"), BAD)
def test_bad_options_are_one_clear_error(run: t.Callable[..., t.Any], params: t.Dict[str, t.Any], message: str) -> None:
    code, result = run(**params)
    assert code == 1
    assert result["msg"].startswith("vfio.migration.domain_xml: nothing was written: ")
    assert message in result["msg"]
