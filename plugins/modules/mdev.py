#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mdev
short_description: Make the mediated devices that workloads need on a host, and take them back
version_added: 0.1.0
author: The vfio.migration authors (@vfio-migration)
description:
  - Makes instances of mdev types for VMs that are to migrate here. Each is created, waited for until its driver has
    bound it, configured, and asked whether it accepts its source. What does not pass is removed again.
  - An instance that is there already, with the same parent, type and attributes, is left as it is. One of ours with
    other attributes is removed and made anew, unless somebody holds it.
  - The instances of one workload are made all or none. A workload that fails does not stop the others.
  - Whatever is made is first written to a ledger on the host. Only what the ledger names is ever removed, and nothing
    that is in use.
  - A run that was killed at any moment is finished, or cleaned up, by the next one with the same options.
  - Needs root.
options:
  instances:
    description:
      - The instances to make or to remove.
      - With O(state=absent) and without O(instances), all that the ledger has of O(plan) is taken back.
    type: list
    elements: dict
    suboptions:
      uuid:
        description:
          - UUID of the instance, in any usual spelling. Any 8-4-4-4-12 hexadecimal digits are accepted.
        type: str
        required: true
      parent:
        description:
          - Address of the parent, needed with O(state=present), in quotes. YAML takes V(0000:00:02.0) for a
            number, which is refused.
          - With O(state=absent), an instance of another parent is left alone if this is given.
        type: raw
      type:
        description:
          - Id of the mdev type, needed with O(state=present).
          - With O(state=absent), an instance of another type is left alone if this is given.
        type: raw
      workload:
        description: VM that the instance is for, needed with O(state=present).
        type: str
      attributes:
        description:
          - What to write to attributes of the new instance, in this order, each with one write.
          - They are compared with what the ledger says was written to an instance that is there already. What others
            made is refused where attributes are wanted, because nobody can tell what was written to it.
        type: list
        elements: dict
        suboptions:
          name:
            description: Path of the attribute below the instance's directory.
            type: str
            required: true
          value:
            description: What to write, exactly. It has to be text; a YAML number or boolean is refused.
            type: raw
            required: true
      accepts:
        description:
          - What C(migration_version) of the source device says. The new instance is asked whether it accepts that; if
            it does not say so, it is removed again.
          - It has to be text; a YAML number or boolean is refused.
          - Leave it out for devices without the attribute. Nothing is asked then.
        type: raw
  plan:
    description: Names the plan in the ledger, needed with O(state=present). Letters, digits, dots, dashes, underscores.
    type: str
  state:
    description: Whether the instances are to exist.
    type: str
    choices: [present, absent]
    default: present
  persist:
    description:
      - Let C(mdevctl) define new instances with their attributes, so that they come back after a reboot.
      - With O(state=absent) this is undone for the instances for which it was done.
    type: bool
    default: false
  reuse:
    description:
      - Where an instance of the same parent and type stands free, take it instead of making one. Free is one that no
        process holds and no libvirt domain names, that nobody had C(mdevctl) define, that no entry of the ledger names,
        and that accepts its source.
      - Where attributes are wanted, none is taken, because nobody can tell what was written to it.
      - It keeps its own UUID, see RV(workloads). It is given back later, never removed. That is so with
        O(state=absent), which finds it by the UUID that was asked for, too, and when something else is wanted under
        that UUID.
    type: bool
    default: false
  workloads:
    description: Take back only what these workloads have, with O(state=absent) and without O(instances).
    type: list
    elements: str
  all_ours:
    description: Take back everything that the ledger names, of all plans.
    type: bool
    default: false
  force_foreign:
    description:
      - Remove the O(instances) even if the ledger does not name them.
      - Those in use are refused all the same.
    type: bool
    default: false
  fail_on_error:
    description:
      - Fail if a workload is not as it should be, after all of them were dealt with.
      - Turn it off to let a play go on with the others, and look at RV(workloads).
    type: bool
    default: true
  bind_timeout:
    description:
      - Seconds that a driver has to make or to remove an instance, to bind it, or to register its parent after a boot.
      - For each instance this adds to O(deadline).
      - A run waits once for as long for processes that an earlier one, which was killed, left waiting for a driver.
        Instances that they are still at work on after that stay as they are, in the ledger too, with the reason
        V(pending).
    type: float
    default: 5.0
  ledger:
    description:
      - Folder of the ledger on the host. It has to survive reboots.
      - Besides the ledger it holds two files for locks. In C(busy), each process that writes to a driver has a lock
        until the kernel lets go of it.
    type: path
    default: /var/lib/vfio-migration
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - vfio.migration.host
attributes:
  check_mode:
    support: full
    details: Nothing is written, to the ledger neither, and no driver is asked.
  diff_mode:
    support: full
  platform:
    support: full
    platforms: linux
notes:
  - Removing a device in use would block in the kernel for as long as it is used. So the open files and command lines of
    all processes are looked at before, and the domains of libvirt below C(/etc/libvirt/qemu) and C(/run/libvirt/qemu).
    A domain that names the device holds it even while it does not run. Without root not all of them can be read, and
    nothing is removed; nor is it while one of those files is broken. The message then names the file.
  - What C(mdevctl) has defined under the same UUID has to bring back what is wanted with O(persist), or it is refused.
    A definition that an earlier run left, and nobody changed, goes with its instance when that is made anew.
  - After a reboot the ledger's entries without O(persist) are void, as those instances are gone.
seealso:
  - module: vfio.migration.vfio_facts
  - module: vfio.migration.compatibility_facts
"""

EXAMPLES = r"""
- name: Make what two VMs need
  vfio.migration.mdev:
    plan: maintenance-42
    instances:
      - uuid: 6f7bd1a2-9c43-4f4c-8c53-0d8f6d3c2b10
        parent: '0000:3b:00.0'
        type: nvidia-35
        workload: web1
        accepts: 10de-20b5-35-550.4
      - uuid: 0b0a8a1e-3d0e-4f63-9b0c-7c5f5a1f9d11
        parent: matrix
        type: vfio_ap-passthrough
        workload: crypto1
        attributes:
          - name: assign_adapter
            value: '5'
          - name: assign_domain
            value: '0xab'
    persist: true
  become: true

- name: Take back what the plan made
  vfio.migration.mdev:
    plan: maintenance-42
    state: absent
  become: true

- name: Take back what one VM has, and go on whatever comes of it
  vfio.migration.mdev:
    plan: maintenance-42
    workloads:
      - web1
    state: absent
    fail_on_error: false
  become: true

- name: Free an old instance on the source, if nobody holds it
  vfio.migration.mdev:
    instances:
      - uuid: 6f7bd1a2-9c43-4f4c-8c53-0d8f6d3c2b10
        parent: '0000:3b:00.0'
        type: nvidia-35
    state: absent
    force_foreign: true
  become: true
"""

RETURN = r"""
workloads:
  description: What became of each workload.
  returned: always
  type: list
  elements: dict
  contains:
    workload:
      description: The workload; null for an instance that none is known for.
      type: str
      returned: always
    ok:
      description: Whether all of its instances are as they should be.
      type: bool
      returned: always
    reason:
      description:
        - Stable code of what went wrong, else null.
        - V(no_room), V(no_parent), V(no_type), V(gone) when the parent cannot give the instance (any more).
        - V(conflict), V(foreign), V(other_owner) when something else stands there, or it belongs to somebody else.
        - V(defined_differently) when mdevctl would bring it back with other attributes, or not by itself.
        - V(in_use), V(holders) when it is held, or nobody can tell.
        - V(pending) when a process of an earlier run still waits for the driver to make or to remove it; run again
          later.
        - V(inconsistent) when the new device refuses its source. When it does not say, V(absent), V(not_probed),
          V(short_write), V(unreadable), V(too_long), V(empty), V(not_ascii), V(unknown).
        - V(not_created), V(not_bound), V(attribute), V(not_removed), V(mdevctl) for the step that failed.
        - V(errno), V(busy), V(hung), V(deadline), V(permission) for what the driver, or the system, said to it.
        - V(ledger), V(worker) when the ledger could not be written, or the process that talks to drivers died.
      type: str
      returned: always
    msg:
      description: A sentence that says what failed, why, and what to do, else null.
      type: str
      returned: always
    instances:
      description: Its instances, in the order in which they were given.
      type: list
      elements: dict
      returned: always
      contains:
        uuid:
          description: UUID of the instance; with O(reuse) that of the one that was taken.
          type: str
          returned: always
        parent:
          description: Address of the parent.
          type: str
          returned: always
        type:
          description: mdev type.
          type: str
          returned: always
        action:
          description:
            - V(created), V(unchanged), V(reused), V(removed), V(given_back), or V(none) when there was nothing to do.
            - V(replaced) for what was removed and made anew, with other attributes.
            - V(refused) where it failed, V(rolled_back) for what was made and removed again.
          type: str
          returned: always
        reason:
          description:
            - That of the workload, for the instance that it is about, else null.
            - V(gone) also if it had been removed by somebody else, V(foreign) also if somebody else's stands there
              instead of ours, which is left alone.
          type: str
          returned: always
        holders:
          description: Processes that hold it, and libvirt domains that name it, where that is the reason.
          type: list
          elements: dict
          returned: always
        device:
          description: Its record as M(vfio.migration.vfio_facts) gives it; null when there is no such instance.
          type: dict
          returned: always
ledger:
  description: What the collection has on this host now.
  returned: always
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the instance.
      type: str
      returned: always
    parent:
      description: Address of its parent.
      type: str
      returned: always
    type:
      description: Its mdev type.
      type: str
      returned: always
    plan:
      description: Plan that it belongs to.
      type: str
      returned: always
    workload:
      description: Workload that it belongs to.
      type: str
      returned: always
    state:
      description: V(created), or V(creating) or V(removing) where a run could not finish.
      type: str
      returned: always
    persist:
      description: Whether it was defined in C(mdevctl).
      type: bool
      returned: always
    reused:
      description: Whether it was found and taken.
      type: bool
      returned: always
    wished:
      description: UUID that was asked for; its own, except where it was found and taken instead.
      type: str
      returned: always
    attributes:
      description: What was written to its attributes, in this order; null where an older ledger does not say.
      type: list
      elements: dict
      returned: always
    boot_id:
      description: Boot of the host in which it was made. After another one only what C(mdevctl) brings back is ours.
      type: str
      returned: always
    time:
      description: When it was written down, in UTC.
      type: str
      returned: always
errors:
  description: All that is wrong with the options; nothing was touched then.
  returned: when the options are wrong
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.vfio.migration.plugins.module_utils import _host, _instances
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError
from ansible_collections.vfio.migration.plugins.module_utils._order import parse

NAME = "vfio.migration.mdev"


def main() -> None:
    module = AnsibleModule(argument_spec=_arguments(), supports_check_mode=True)
    params = module.params
    nothing: t.Dict[str, t.Any] = {"changed": False, "workloads": [], "ledger": []}
    order, errors = parse(params)
    if errors:
        module.fail_json(msg="%s: nothing was touched: %s" % (NAME, "; ".join(errors)), errors=errors, **nothing)
    try:
        options = _host.options(params)
        report = _instances.run(options, order, params["ledger"], params["state"] == "absent", module.check_mode)
    except (ValueError, WorkerError, LedgerError) as exc:
        module.fail_json(msg="%s: %s" % (NAME, exc), **nothing)
    result = {"changed": report.changed, "workloads": report.workloads, "ledger": report.ledger}
    if module._diff:  # noqa: SLF001  # the only way to know whether a difference was asked for
        result["diff"] = {"before": {"instances": report.before}, "after": {"instances": report.after}}
    failed = [one["msg"] or "" for one in report.workloads if not one["ok"]]
    if failed and params["fail_on_error"]:
        count = "%d of %d workloads failed" % (len(failed), len(report.workloads))
        module.fail_json(msg="%s: %s: %s" % (NAME, count, "; ".join(failed)), **result)
    module.exit_json(**result)


def _arguments() -> t.Dict[str, t.Any]:
    text = {"type": "str"}
    needed = {"type": "str", "required": True}
    # Not str: that would turn an unquoted 0x10 of a playbook into another string without a word.
    exact = {"type": "raw"}
    flag = {"type": "bool", "default": False}
    value = dict(exact, required=True)
    attributes = {"type": "list", "elements": "dict", "options": {"name": needed, "value": value}}
    instance = {
        "uuid": needed,
        "parent": exact,
        "type": exact,
        "workload": text,
        "attributes": attributes,
        "accepts": exact,
    }
    return dict(
        _host.ARGUMENTS,
        instances={"type": "list", "elements": "dict", "options": instance},
        plan=text,
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        persist=flag,
        reuse=flag,
        workloads={"type": "list", "elements": "str"},
        all_ours=flag,
        force_foreign=flag,
        fail_on_error={"type": "bool", "default": True},
        bind_timeout={"type": "float", "default": 5.0},
        ledger={"type": "path", "default": "/var/lib/vfio-migration"},
    )


if __name__ == "__main__":
    main()
