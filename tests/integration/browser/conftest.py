# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser without a window: the distribution's Chromium, driven by Selenium. Its pictures are kept."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import typing as t

import pytest
from selenium import webdriver
from selenium.webdriver import Keys

from ansible_collections.vfio.migration.plugins.action import report as action
from ansible_collections.vfio.migration.plugins.plugin_utils import _html, _report, _view
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet
from ansible_collections.vfio.migration.tests.tools import setup
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data

MISSING = setup.missing_browser()
collect_ignore_glob = ["test_*.py"] if MISSING else []

PICTURES = setup.CACHE / "artefacts" / "browser"
WIDTH, HEIGHT = 1280, 900


def pytest_report_header() -> str:
    """Say with which browser the page is tested."""
    return f"browser: {f'left out, {MISSING}' if MISSING else setup.browser()}"


class Page:
    """A report in a browser."""

    def __init__(self, driver: t.Any) -> None:
        self.driver = driver

    def open(self, path: pathlib.Path) -> None:
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())

    def errors(self) -> list[str]:
        """What the console said since the page was opened, or since this was asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def all(self, selector: str) -> list[t.Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> t.Any:
        return self.driver.find_element("css selector", selector)

    def run(self, script: str, *values: t.Any) -> t.Any:
        return self.driver.execute_script(script, *values)

    def cdp(self, command: str, **values: t.Any) -> t.Any:
        """A command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(command, values)

    def media(self, name: str = "", **features: str) -> None:
        """Show the page as on paper, or to somebody who wants it dark."""
        wanted = [{"name": key.replace("_", "-"), "value": value} for key, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", media=name, features=wanted)

    def search(self, text: str) -> str:
        """Type it, and wait until the page has filtered; returns what it says about that."""
        field = self.one("#search")
        field.send_keys(f"{Keys.CONTROL}a{Keys.NULL}{Keys.BACKSPACE}{text}")
        wait = "const [done] = arguments; setTimeout(() => done(document.getElementById('found').textContent), 600)"
        return str(self.driver.execute_async_script(wait))

    def rows(self, section: str) -> list[str]:
        """The rows of the section's first table, as read."""
        return list(self.run(
            "return [...document.querySelector(arguments[0] + ' table').tBodies[0].rows].map(row => row.innerText)",
            f"#{section}",
        ))  # fmt: skip

    def picture(self, name: str, selector: str = "body") -> None:
        """Keep what a part of it looks like."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        box = self.run(
            "document.querySelector('header').style.position = 'static';"
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: Math.min(r.height, 8000)}",
            selector,
        )
        made = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip={**box, "scale": 1})
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(made["data"]))

    def printed(self, name: str) -> bytes:
        """Print it to a PDF file, which is kept."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        made = base64.b64decode(self.cdp("Page.printToPDF", printBackground=True)["data"])
        (PICTURES / f"{name}.pdf").write_bytes(made)
        return made


@pytest.fixture(scope="session")
def _driver() -> t.Iterator[t.Any]:
    options = webdriver.ChromeOptions()
    chromium, chromedriver = setup.browser()
    options.binary_location = str(chromium)
    # Tests may be run by root, in containers without a sandbox and with little shared memory; only own files are shown.
    words = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars")
    for word in (*words, f"--window-size={WIDTH},{HEIGHT}", "--disable-background-networking"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(chromedriver)))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(_driver: t.Any) -> t.Iterator[Page]:
    shown = Page(_driver)
    yield shown
    shown.media()


def written(report: _report.Report, path: pathlib.Path) -> pathlib.Path:
    path.write_text(_html.render(_view.build(report), "0" * 64, action.assets()), encoding="utf-8")
    return path


BATCHES = {"batches": [["hv2", "hv3"], ["hv4", "hv6"]]}


def playbook(name: str, inventory: pathlib.Path, folder: pathlib.Path, *options: str, limit: str = "all") -> None:
    command = ["ansible-playbook", "-i", str(inventory), f"vfio.migration.{name}", "--limit", limit]
    for option in options:
        command += ["-e", option]
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts")}
    env = {**os.environ, **cache, "ANSIBLE_COLLECTIONS_PATH": str(setup.TREE)}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The six hosts of the demo: gathered, asked, planned for and reported by real playbooks, one from the cache."""
    path = tmp_path_factory.mktemp("pages") / "small.html"
    plan = path.with_suffix(".plan")
    markdown, contents = path.with_suffix(".md"), path.with_suffix(".json")
    with simulated_fleet("small") as fleet:
        rolling = json.dumps({"evacuation_rolling": BATCHES})
        playbook("plan_evacuation", fleet.inventory, path.parent, rolling, f"evacuation_dest={plan}")
        files = (f"report_html={path}", f"report_markdown={markdown}", f"report_dest={contents}", f"report_plan={plan}")
        playbook("readiness", fleet.inventory, path.parent, "readiness_hosts=hypervisors", *files, limit="all:!hv6")
    return path


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A thousand hosts."""
    return written(page_data.large(), tmp_path_factory.mktemp("pages") / "large.html")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return written(page_data.hostile(), tmp_path_factory.mktemp("pages") / "hostile.html")
