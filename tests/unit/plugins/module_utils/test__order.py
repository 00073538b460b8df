# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils._order import normal_uuid, parse

UUID = "6f7bd1a2-9c43-4f4c-8c53-0d8f6d3c2b10"
INSTANCE: t.Dict[str, t.Any] = {
    "uuid": UUID,
    "parent": "0000:3b:00.0",
    "type": "nv-1",
    "workload": "vm1",
    "attributes": None,
    "accepts": None,
}
PRESENT: t.Dict[str, t.Any] = {
    "instances": [INSTANCE],
    "plan": "p1",
    "state": "present",
    "persist": False,
    "reuse": False,
    "workloads": None,
    "all_ours": False,
    "force_foreign": False,
    "bind_timeout": 5.0,
}
ABSENT = dict(PRESENT, state="absent", instances=None)


def errors(base: t.Dict[str, t.Any], **changes: t.Any) -> t.List[str]:
    return parse(dict(base, **changes))[1]


def with_instance(**changes: t.Any) -> t.Dict[str, t.Any]:
    return dict(PRESENT, instances=[dict(INSTANCE, **changes)])


@pytest.mark.fault("C4")
@pytest.mark.parametrize(
    "text",
    [UUID.upper(), "{%s}" % UUID, "urn:uuid:" + UUID, "URN:UUID:" + UUID.upper(), UUID + "\n", " %s " % UUID],
)
def test_spellings_of_one_uuid(text: str) -> None:
    assert normal_uuid(text) == UUID


@pytest.mark.fault("C4")
@given(st.lists(st.sampled_from("0123456789abcdefABCDEF"), min_size=32, max_size=32))
def test_any_hexadecimal_digits_make_a_uuid(digits: t.List[str]) -> None:
    word = "".join(digits)
    text = "-".join((word[:8], word[8:12], word[12:16], word[16:20], word[20:]))
    assert normal_uuid(text) == text.lower()
    assert normal_uuid("{" + text.upper() + "}") == text.lower()


@pytest.mark.fault("C4", "L10")
@given(st.text())
def test_whatever_is_taken_is_one_harmless_name(text: str) -> None:
    found = normal_uuid(text)
    assert found is None or (len(found) == 36 and set(found) <= set("0123456789abcdef-"))


NO_UUID = [UUID[:-1], UUID + "0", UUID.replace("-", ""), "../../x", "{" + UUID, UUID.replace("6", "g"), "", "null"]


@pytest.mark.fault("C4", "L10")
@pytest.mark.parametrize("text", NO_UUID)
def test_what_is_no_uuid_is_named(text: str) -> None:
    expected = "instances[0].uuid must be 8-4-4-4-12 hexadecimal digits, not %r" % text
    assert parse(with_instance(uuid=text))[1] == [expected]


WRONG_INSTANCES: t.List[t.Tuple[t.Dict[str, t.Any], str]] = [
    ({"parent": "../../x"}, "instances[0].parent must be one name"),
    ({"parent": "/etc"}, "instances[0].parent must be one name"),
    ({"type": ".."}, "instances[0].type must be one name"),
    ({"type": "a\0b"}, "instances[0].type must be one name"),
    ({"type": None}, "instances[0].type is needed"),
    ({"workload": ""}, "instances[0].workload is needed"),
    ({"accepts": ""}, "instances[0].accepts must be the source's string"),
    ({"accepts": "\u00e9"}, "instances[0].accepts must be the source's string"),
    ({"attributes": [{"name": "../remove", "value": "1"}]}, "instances[0].attributes[0].name must be an attribute"),
    ({"attributes": [{"name": "/etc/passwd", "value": "1"}]}, "instances[0].attributes[0].name must be an attribute"),
    ({"attributes": [{"name": "remove", "value": "1"}]}, "instances[0].attributes[0].name must be an attribute"),
    ({"attributes": [{"name": "driver/unbind", "value": "1"}]}, "instances[0].attributes[0].name must be an attri"),
    ({"attributes": [{"name": "", "value": "1"}]}, "instances[0].attributes[0].name must be an attribute"),
    ({"attributes": [{"name": "a", "value": ""}]}, "instances[0].attributes[0].value must be text"),
]

REWRITTEN: t.List[t.Tuple[t.Dict[str, t.Any], str]] = [
    ({"parent": 2.0}, "parent"),
    ({"type": True}, "type"),
    ({"accepts": 16}, "accepts"),
    ({"accepts": False}, "accepts"),
    ({"attributes": [{"name": "assign_domain", "value": 171}]}, "attributes[0].value"),
]
"""What YAML makes of 0000:00:02.0, yes, 0x10, no and 0xab without quotes."""


@pytest.mark.fault("R13")
@pytest.mark.parametrize(("changes", "key"), REWRITTEN)
def test_what_yaml_took_for_something_else_is_refused_not_rewritten(changes: t.Dict[str, t.Any], key: str) -> None:
    value = changes.get(key, 171)
    expected = "must be text, in quotes where YAML takes it for something else, not %r" % value
    assert parse(with_instance(**changes))[1] == ["instances[0].%s %s" % (key, expected)]


@pytest.mark.fault("L10")
@pytest.mark.parametrize(("changes", "error"), WRONG_INSTANCES)
def test_hostile_or_missing_words_are_refused_before_any_path_is_built(changes: t.Dict[str, t.Any], error: str) -> None:
    found = parse(with_instance(**changes))[1]
    assert len(found) == 1
    assert found[0].startswith(error)


@pytest.mark.parametrize("name", ["assign_adapter", "intel_vgpu/vgpu_id", "a.b-c_d"])
def test_usual_attributes_are_taken(name: str) -> None:
    order, found = parse(with_instance(attributes=[{"name": name, "value": "5"}]))
    assert found == []
    assert order.instances[0].attributes == [{"name": name, "value": "5"}]


WRONG_ORDERS: t.List[t.Tuple[t.Dict[str, t.Any], t.Dict[str, t.Any], str]] = [
    (PRESENT, {"plan": None}, "plan is needed"),
    (PRESENT, {"plan": "a/b"}, "plan must be letters"),
    (PRESENT, {"plan": "a\n"}, "plan must be letters"),
    (PRESENT, {"instances": None}, "instances are needed with state present"),
    (PRESENT, {"instances": []}, "instances are needed with state present"),
    (PRESENT, {"instances": [INSTANCE, dict(INSTANCE, uuid=UUID.upper())]}, "instances: the UUID %s is" % UUID),
    (PRESENT, {"force_foreign": True}, "force_foreign is for state absent only"),
    (PRESENT, {"all_ours": True}, "all_ours is for state absent only"),
    (PRESENT, {"workloads": ["a"]}, "workloads is for state absent only"),
    (PRESENT, {"bind_timeout": 0.0}, "bind_timeout must be"),
    (PRESENT, {"bind_timeout": float("nan")}, "bind_timeout must be"),
    (ABSENT, {"persist": True}, "persist is for state present only"),
    (ABSENT, {"reuse": True}, "reuse is for state present only"),
    (ABSENT, {"plan": None}, "state absent needs instances, a plan, or all_ours: true"),
    (ABSENT, {"force_foreign": True}, "force_foreign needs instances"),
    (ABSENT, {"instances": [INSTANCE], "all_ours": True}, "instances go neither with all_ours nor with workloads"),
    (ABSENT, {"instances": [INSTANCE], "workloads": ["a"]}, "instances go neither with all_ours nor with workloads"),
]


@pytest.mark.parametrize(("base", "changes", "error"), WRONG_ORDERS)
def test_options_that_make_no_sense_together(base: t.Dict[str, t.Any], changes: t.Dict[str, t.Any], error: str) -> None:
    found = errors(base, **changes)
    assert len(found) == 1
    assert found[0].startswith(error)


def test_all_errors_are_listed_at_once() -> None:
    assert len(errors(PRESENT, plan=None, instances=[dict(INSTANCE, parent="/"), dict(INSTANCE, uuid="x")])) == 3


def test_what_is_to_be_removed_needs_no_more_than_its_uuid() -> None:
    bare = dict.fromkeys(INSTANCE, None)
    order, found = parse(dict(ABSENT, instances=[dict(bare, uuid=UUID.upper())], plan=None))
    assert found == []
    assert [str(wish) for wish in order.instances] == ["instance " + UUID]
