# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an action plugin gets at the facts of a whole fleet.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError

FACTS: t.Final = ("vfio_migration", "vfio_migration_verdicts")


class HostVars(t.Protocol):
    """The part of ansible-core's ``hostvars`` that is used here."""

    def __contains__(self, host: object) -> bool: ...

    def raw_get(self, host: str) -> t.Mapping[str, t.Any]:
        """All variables of a host, untemplated."""


def read(task_vars: t.Mapping[str, t.Any], hosts: t.Iterable[str]) -> dict[str, dict[str, t.Any]]:
    """The facts of each host, of this run or from the fact cache; ``{}`` where there are none.

    Facts are values, never templates: ``hostvars[host]`` would look for templates in every string of every host,
    which takes minutes for a large fleet; ``raw_get`` does not.
    """
    hostvars: HostVars = task_vars["hostvars"]
    found = {}
    strangers = []
    for host in hosts:
        if host in hostvars:
            facts = hostvars.raw_get(host).get("ansible_facts") or {}
            found[host] = {key: facts[key] for key in FACTS if key in facts}
        else:
            strangers.append(host)
    if strangers:
        raise ContractError(f"hosts must be in the inventory, these are not: {', '.join(strangers)}")
    return found


def every_host(task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """The hosts the play was started for, failed and unreachable ones too."""
    return list(task_vars["ansible_play_hosts_all"])


def reached(task_vars: t.Mapping[str, t.Any], gathered: str | None = None) -> list[str]:
    """The hosts of the play that have not failed so far.

    With ``ignore_unreachable`` the play keeps hosts that it could not reach; ``gathered`` names the variable in which
    the gathering task was registered and so tells them apart.
    """
    hosts: list[str] = list(task_vars["ansible_play_hosts"])
    if gathered is None:
        return hosts
    hostvars: HostVars = task_vars["hostvars"]
    return [host for host in hosts if not (hostvars.raw_get(host).get(gathered) or {}).get("unreachable")]


def registered(task_vars: t.Mapping[str, t.Any], name: str, hosts: t.Iterable[str]) -> dict[str, dict[str, t.Any]]:
    """What a task registered on each host; hosts that were left out or skipped it are not in it."""
    hostvars: HostVars = task_vars["hostvars"]
    results = {host: hostvars.raw_get(host).get(name) or {} for host in hosts if host in hostvars}
    return {host: result for host, result in results.items() if result and not result.get("skipped")}
