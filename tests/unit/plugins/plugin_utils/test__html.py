# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML file is safe, whole and small. What a browser makes of it, tests/integration/browser looks at."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html.parser
import json
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.action import report as action
from ansible_collections.vfio.migration.plugins.plugin_utils import _html, _report, _view
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data, report_data

VENDOR = action.PAGE / "vendor"
FINGERPRINT = "f" * 64
# What ends a script element, or changes how a parser looks for its end.
UNSAFE = re.compile(r"</script|<script|<!--", re.IGNORECASE)


class Reader(html.parser.HTMLParser):
    """Text of the scripts and styles, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.texts.setdefault(tag, []).append("")
            self.inside = tag

    def handle_endtag(self, _tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[self.inside][-1] += data


def page(report: _report.Report) -> str:
    return _html.render(_view.build(report), FINGERPRINT, action.assets())


def test_the_library_is_the_published_one() -> None:
    published = gzip.decompress((VENDOR / "echarts.min.js.gz").read_bytes())
    digest = hashlib.sha256(published).hexdigest()
    note = (VENDOR / "README.md").read_text(encoding="utf-8")
    assert f"`{digest}`" in note
    assert digest == "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"


def test_the_scripts_can_be_put_into_a_page_as_they_are() -> None:
    assets = action.assets()
    for text in (assets.library, assets.script):
        assert not UNSAFE.search(text)
        assert "\r" not in text  # parsers change it, and hashes with it
    assert "</style" not in assets.style
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert word not in assets.script


def test_the_policy_allows_the_own_scripts_and_style_and_nothing_else() -> None:
    found = Reader(page(report_data_report()))
    policies = [tag["content"] for name, tag in found.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in str(policies[0]).split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    own = [text for text in found.texts["script"] if not text.startswith("{")]
    assert rules["script-src"].split() == [digest(text) for text in own]
    assert rules["style-src"].split() == [digest(text) for text in found.texts["style"]]


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def report_data_report() -> _report.Report:
    return _report.build(report_data.small())


def test_it_loads_nothing() -> None:
    found = Reader(page(page_data.hostile()))
    assert not [tag for _name, tag in found.tags if "src" in tag]
    assert not [name for name, _tag in found.tags if name in ("link", "img", "iframe", "object", "embed", "base")]
    assert [tag["href"] for name, tag in found.tags if name == "a" and not str(tag["href"]).startswith("#")] == []


@pytest.mark.fault("L10")
def test_hostile_texts_stay_inside_their_block() -> None:
    found = Reader(page(page_data.hostile()))
    assert [name for name, _tag in found.tags].count("script") == 3
    words = json.loads(found.texts["script"][0])["words"]
    for text in page_data.HOSTILE:
        assert any(_report.plain(text, 5000) in word for word in words), text[:40]
    assert not any(char in word for word in words for char in "\0\a\x1b\n\u2028\u202e")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(page_data.HOSTILE),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
@pytest.mark.fault("L10")
def test_any_value_survives_being_embedded(value: t.Any) -> None:
    text = _html.embedded(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\n\u2028")
    assert text.isascii()


def test_what_is_put_in_may_look_like_a_place() -> None:
    assets = _html.Assets("<@@style@@|@@data@@|@@fingerprint@@>", "@@data@@", "", "")
    assert _html.render({"a": "@@style@@"}, "1", assets) == '<@@data@@|{"a":"@@style@@"}|1>'


def test_a_thousand_hosts_fit_into_a_mail() -> None:
    text = page(page_data.large())
    assert len(text.encode()) < 10 * 2**20
    view = json.loads(Reader(text).texts["script"][0])
    assert len(view["hosts"]) == 1000
    assert len(view["pairs"]) < 5000  # classes, not hosts
