# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML report in a real browser: of the demo's six hosts, of a thousand, and of one where every text is hostile."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.integration.browser.conftest import Page
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data


def requests(page: Page) -> list[str]:
    """Addresses that the page asked for since it was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    sent = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


def focused(page: Page) -> str:
    return str(page.run("const a = document.activeElement; return a.tagName + ' ' + (a.id || a.className)"))


SECTIONS = ("glance", "hosts", "matrix", "items", "capacity", "plan", "findings")


def pictures(page: Page, name: str) -> None:
    for section in SECTIONS:
        page.picture(f"{name}-{section}", f"#{section}")


def test_large(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    pictures(page, "large")
    assert page.errors() == []


def test_small(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    pictures(page, "small")
    assert page.errors() == []


def test_hostile(page: Page, hostile: pathlib.Path) -> None:
    page.open(hostile)
    pictures(page, "hostile")
    assert page.errors() == []
