# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML report in a real browser: of the demo's six hosts, of a thousand, and of one where every text is hostile."""

from __future__ import annotations

import io
import json
import pathlib
import typing as t

import pypdf
import pytest
from selenium.webdriver import ActionChains, Keys

from ansible_collections.vfio.migration.plugins.plugin_utils import _report
from ansible_collections.vfio.migration.tests.integration.browser.conftest import Page
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data


def requests(page: Page) -> list[str]:
    """Addresses that the page asked for since it was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    sent = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


def focused(page: Page) -> str:
    return str(page.run("const a = document.activeElement; return a.tagName + ' ' + (a.id || a.className)"))


SECTIONS = ("glance", "hosts", "matrix", "items", "capacity", "plan", "findings", "notes")


def pictures(page: Page, name: str) -> None:
    for section in SECTIONS:
        page.picture(f"{name}-{section}", f"#{section}")


def settled(page: Page) -> None:
    """Wait for what a change of size or colours draws again."""
    page.driver.execute_async_script("const [done] = arguments; setTimeout(done, 400)")


def until(page: Page, condition: str) -> None:
    """Wait for it, not for long."""
    script = "const [done] = arguments, end = Date.now() + 10000; const look = () => (%s) ? done(true) : "
    script += "Date.now() > end ? done(false) : setTimeout(look, 50); look()"
    assert page.driver.execute_async_script(script % condition), condition


def drawn(page: Page, selector: str) -> str:
    """The pixels of the first chart in there."""
    return str(page.run("return document.querySelector(arguments[0] + ' canvas').toDataURL()", selector))


@pytest.mark.parametrize("name", ["small", "large", "hostile"])
def test_it_loads_in_silence_and_asks_for_nothing(page: Page, name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name)
    page.driver.get_log("performance")
    page.open(path)
    assert requests(page) == [path.as_uri()]
    assert page.run("return document.querySelectorAll('canvas').length") > 2
    pictures(page, name)
    assert page.errors() == []
    assert page.driver.title == "VFIO migration readiness"


def test_the_playbook_writes_all_three(small: pathlib.Path) -> None:
    lines = small.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("| VMs |", "| devices |", "| `hv1` |"))] == [
        "| VMs | 3 | 0 | 1 | 5 |  |  |",
        "| devices | 7 | 1 | 1 | 9 |  |  |",
        "| `hv1` | blocked | 2 |  | 2: the target's driver refuses it (`EINVAL`) |",
    ]
    found = json.loads(small.with_suffix(".json").read_text(encoding="ascii"))
    assert {one["host"]: one["state"] for one in found["drains"]}["hv1"] == "blocked"
    assert found["plan"] == json.loads(small.with_suffix(".plan").read_text(encoding="ascii"))
    assert {one["model"] for one in found["capacity"]} >= {"vector", "silent"}


def test_a_plan_of_the_planner_is_shown_with_its_batches_and_who_is_stuck(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    plan = page.one("#plan").text
    for said in (
        "3 of 4 hosts emptied, 3 moves in 2 waves, 0 stopped, 1 stuck",
        "Batch 1: maintenance of hv2, hv3, after wave 1; NOT EMPTIED: hv3",
        "Batch 2: maintenance of hv4, hv6, after wave 2",
        "0000:3b:00.0/nvidia-35 [no way back]",
        "0000:5e:00.1 (is there)",
        "no other host accepts nvidia-35: the target's driver refuses it (EINVAL)",
        "no compatible host",
    ):
        assert said in plan, said
    planned = {row.split("\t")[0]: row.split("\t")[2] for row in page.rows("hosts")}
    assert planned == {
        "hv1": "", "hv5": "", "hv2": "empties it", "hv4": "empties it", "hv6": "empties it", "hv3": "does not empty it",
    }  # fmt: skip
    grid = page.one("#plan .chart")
    page.run("arguments[0].focus()", grid)
    grid.send_keys(Keys.ARROW_DOWN)
    assert page.one("#plan .state").text == "wave 1, from hv2: web2 to hv1, db1 to hv1"
    grid.send_keys(Keys.ENTER)
    assert "db1" in page.one("#plan .detail").text
    assert page.errors() == []


def test_who_is_stopped_stands_before_who_moves(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    assert [one.text.split(":")[0] for one in page.all("#plan h3")] == [
        "Stopped with their hosts, not migrated", "Waves", "Stuck",
    ]  # fmt: skip
    assert page.rows("plan") == ["batch-job\thv00000"]


def test_stale_facts_are_a_finding(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    found = [row.split("\t") for row in page.rows("findings")]
    assert [row[1:3] for row in found if row[0] == "cached"] == [["hosts known from an earlier run only", "hv6"]]
    assert {row[0] for row in found} == {"uuid clash", "inconsistent", "hung", "no way back", "cached"}
    (facts,) = (row.split("\t")[-1] for row in page.rows("hosts") if row.startswith("hv6"))
    assert facts.startswith("cached, ")


def test_room_that_is_not_known_is_not_drawn_as_none(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    notes = page.run("return [...document.querySelectorAll('#capacity .note')].map(one => one.textContent)")
    assert notes == ["Rows of the table below where it is not known how much is free: 8. They are not in the picture."]


def test_numbers_of_free_places_stand_beside_their_bars(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    script = "return echarts.getInstanceByDom(document.querySelector('#capacity .chart')).getOption().series"
    assert page.run(script)[1]["label"]["position"] == "right"


COUPLINGS = [
    ("nvidia: nvidia-35, nvidia-36", "2 parents, shared units, coupled", "All types take from one pool of units: "),
    ("nvidia: nvidia-35, nvidia-36", "2 parents, exclusive, coupled", "One type at a time: "),
    ("nvmet_mdev: nvmet_mdev-ns", "2 parents, independent", "One type only. "),
    ("i915: i915-GVTg_V5_4, i915-GVTg_V5_8", "1 parent, vector, coupled", "All types take from the same resources: "),
    ("hungdrv: hungdrv-a, hungdrv-b", "1 parent, silent", "Nothing is known of what is free. "),
]


def test_coupled_types_are_shown_as_such(page: Page, small: pathlib.Path) -> None:
    """In words above and below, and hatched in the picture: their free places are not there all at once."""
    page.open(small)
    page.run("document.querySelectorAll('#capacity details').forEach(one => { one.open = true; })")
    until(page, "[...document.querySelectorAll('#capacity .chart')].every(one => echarts.getInstanceByDom(one))")
    groups = page.run(
        "return [...document.querySelectorAll('#capacity details')].map(one => ["
        "one.querySelector('summary').firstChild.data, one.querySelector('summary span').textContent,"
        "one.querySelector('.inside p').textContent,"
        "!!echarts.getInstanceByDom(one.querySelector('.chart')).getOption().series[1].itemStyle.decal])"
    )
    for types, kind, said in COUPLINGS:
        texts = [text for name, label, text, _hatched in groups if (name, label) == (types, kind)]
        assert [text.startswith(said) for text in texts] == [True], kind
    assert [hatched for *_words, hatched in groups] == [label.endswith(", coupled") for _name, label, *_rest in groups]
    assert "Never add the free places of types that are coupled." in page.one("#capacity .said").text
    assert {(row.split("\t")[2], row.split("\t")[-1]) for row in page.rows("capacity")} >= {
        ("nvidia", "shared units"), ("nvidia", "exclusive"), ("i915", "vector"), ("nvmet_mdev", "one type"),
    }  # fmt: skip


def test_findings_say_how_many_hosts_they_are_about(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    (found,) = (row for row in page.rows("findings") if "sources/s20\t" in row)
    assert " hosts: hv00" in found


def test_notes_of_many_hosts_are_one_row(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    first, *others = page.rows("notes")
    assert first.split()[:7] == ["no", "pyudev", "Names", "need", "pyudev.", "998", "hosts:"]
    assert "and 898 more" in first
    assert len(others) == 24
    page.search("hv00800 missing")
    (found,) = page.rows("notes")
    assert "VM web-hv00800 names the mdev 00000320-0000-4000-8000-000000000001." in found
    page.search("hv00801")  # one of those that are not spelled out
    assert [row.split("\t")[0] for row in page.rows("notes")] == ["no pyudev"]


def test_what_hosts_of_the_demo_note_is_on_its_page(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    (shown,) = (row.split("\t") for row in page.rows("notes") if row.startswith("hung\t"))
    assert shown[2] == "hv5"
    assert "parents/0000:d8:00.0, " in shown[3]
    assert shown[1].strip() in small.with_suffix(".md").read_text(encoding="utf-8")
    page.media("print")
    settled(page)
    assert shown[1].strip() in page.one("#notes").text


def test_a_thousand_hosts_make_a_file_to_mail(large: pathlib.Path) -> None:
    assert large.stat().st_size < 10 * 2**20


def test_a_thousand_hosts_make_a_small_page_that_can_be_filtered(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    assert page.run("return document.querySelectorAll('*').length") < 10_000
    assert len(page.rows("hosts")) == 25
    found = page.search("hv00777")
    counts = [one.text.split(" of ")[0] for one in page.all("main .bar [role=status]") if " of " in one.text]
    assert counts[0] == "1"
    assert found == f"{sum(map(int, counts))} rows found"
    assert [row.split()[0] for row in page.rows("hosts")] == ["hv00777"]
    assert {row.split()[0] for section in ("items", "capacity") for row in page.rows(section)} == {"hv00777"}


def test_the_filter_finds_hosts_vms_devices_types_and_strings(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    blocks = "return [...document.querySelectorAll('#matrix details:not([hidden]) summary')].map(one => one.innerText)"
    everything = page.run(blocks)
    page.search("web1")
    assert ["web1" in row for row in page.rows("items")] == [True, True]  # the VM, and its device
    assert [name.split()[1] for name in page.run(blocks)] == ["nvidia-35"]
    page.search("10DE-20B5-35-550.2")
    # A device of another type was asked for the string as well.
    assert [name.split()[1] for name in page.run(blocks)] == ["nvidia-35", "nvidia-36"]
    page.search("0000:5e:00.2")
    assert any("net1" in row for row in page.rows("items"))
    page.search("ready hv2  DB1")  # wherever in a row they stand
    assert ["db1" in row and "ready" in row for row in page.rows("items")] == [True, True]
    assert page.search("no such thing") == "0 rows found"
    assert page.run(blocks) == []
    assert page.one("#matrix > p:last-of-type").text == "No class fits the filter."
    page.search("hv1")
    page.search("")
    assert page.run(blocks) == everything


def test_tables_are_narrowed_and_sorted(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    page.run(
        "const s = document.querySelector('#items select'); s.value = 'unknown'; s.dispatchEvent(new Event('change'))"
    )
    assert page.rows("items")
    assert all("unknown" in row for row in page.rows("items"))
    head = page.one("#hosts th button")
    head.send_keys("\n")
    up = page.rows("hosts")
    head.send_keys("\n")
    assert up == sorted(up)
    assert page.rows("hosts") == up[::-1]
    assert page.one("#hosts th").get_attribute("aria-sort") == "descending"


def test_a_thousand_hosts_come_a_page_at_a_time(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    page.one("#hosts button.more").send_keys("\n")
    assert len(page.rows("hosts")) == 525
    page.one("#hosts button.more").send_keys("\n")
    assert len(page.rows("hosts")) == 1000
    assert not page.one("#hosts button.more").is_displayed()


def test_the_matrix_is_read_with_the_keyboard_alone(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    body = page.one("body")
    body.send_keys("/")
    assert focused(page) == "INPUT search"
    grid = page.one("#matrix .chart")
    page.run("arguments[0].focus()", grid)
    grid.send_keys(Keys.ARROW_RIGHT)
    grid.send_keys(Keys.ARROW_RIGHT)
    said = page.one("#matrix .state").text
    assert said.startswith("s3: 3 on hv2 to t6: new on hv1: accepted, and there is room")
    grid.send_keys(Keys.ENTER)
    detail = page.one("#matrix .detail")
    assert detail.is_displayed()
    assert focused(page) == "DIV detail"
    strings = ("10de-20b5-35-550.2", "10de-20b5-35-550.4")
    for word in (*strings, "can not be undone", "Asked", "web2", "the device's own node"):
        assert word in detail.text, word
    page.picture("small-evidence", "#matrix")
    detail.send_keys(Keys.ESCAPE)
    assert not detail.is_displayed()
    assert focused(page) == "DIV chart"
    assert page.errors() == []


def test_every_control_is_reached_with_the_tab_key(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    seen = []
    for _press in range(40):
        page.run("return document.activeElement").send_keys(Keys.TAB)
        seen.append(focused(page))
    assert seen[0] == "A skip"
    assert "INPUT search" in seen
    assert sum(one.startswith("SUMMARY") for one in seen) >= 3
    assert "DIV chart" in seen


def test_a_mouse_opens_a_cell(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    canvas = page.one("#matrix canvas")
    ActionChains(page.driver).move_to_element(canvas).click().perform()
    assert page.one("#matrix .detail").is_displayed()
    assert page.one("#matrix .state").text


def test_waves_open_to_their_moves(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    grid = page.one("#plan .chart")
    page.run("arguments[0].focus()", grid)
    grid.send_keys(Keys.ARROW_DOWN)
    assert page.one("#plan .state").text.startswith("wave 1, from hv")
    grid.send_keys(Keys.ENTER)
    assert "vm-" in page.one("#plan .detail").text
    assert "One more instance" in page.one("#plan").text


NARROW = 400


@pytest.fixture
def narrow(page: Page) -> t.Iterator[Page]:
    """A window of a phone's width."""
    page.cdp("Emulation.setDeviceMetricsOverride", width=NARROW, height=900, deviceScaleFactor=1, mobile=False)
    yield page
    page.cdp("Emulation.clearDeviceMetricsOverride")


CELLS = "const made = echarts.getInstanceByDom(document.querySelector('#matrix .chart')), wanted = made.getOption();"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_scrolls_the_matrix_in_its_box(narrow: Page, small: pathlib.Path, scheme: str) -> None:
    narrow.media(prefers_color_scheme=scheme)
    narrow.open(small)
    # Every column has room for all that its head says, and every cell for its word.
    assert narrow.run(f"{CELLS} return wanted.xAxis[0].data[1]") == "t6\nnew\nhv1"
    assert narrow.run(f"{CELLS} return [wanted.xAxis[0].axisLabel.rotate, wanted.series[0].label.show]") == [0, True]
    assert narrow.run("return document.documentElement.scrollWidth") == NARROW
    assert narrow.run("return document.querySelector('#matrix canvas').clientWidth") > NARROW
    for number in range(len(narrow.all("#matrix .chart"))):
        rows = narrow.all("#matrix .rows")[number].find_elements("css selector", "div")
        assert [row.get_attribute("title") for row in rows] == [row.text.replace("\n", " ") for row in rows]
    pictures(narrow, f"narrow-{scheme}-small")
    assert narrow.errors() == []


def test_the_keyboard_takes_a_scrolled_matrix_along(narrow: Page, large: pathlib.Path) -> None:
    narrow.open(large)
    grid = narrow.one("#matrix .chart")
    narrow.run("arguments[0].focus()", grid)
    left = "return document.querySelector('#matrix .map').scrollLeft"
    grid.send_keys(Keys.ARROW_RIGHT)
    assert narrow.run(left) == 0
    grid.send_keys(*[Keys.ARROW_RIGHT] * 10)
    scrolled = narrow.run(
        "const b = document.querySelector('#matrix .map'); return [b.scrollLeft, b.scrollWidth - b.clientWidth]"
    )
    assert abs(scrolled[0] - scrolled[1]) <= 11  # the last column, but for the margin
    # Names of rows stay in sight.
    assert narrow.run("const b = document.querySelector('#matrix .map'), r = b.querySelector('.rows');"
                      "return r.getBoundingClientRect().left - b.getBoundingClientRect().left") == 0  # fmt: skip
    grid.send_keys(*[Keys.ARROW_LEFT] * 10)
    assert narrow.run(left) == 0


def test_hovering_a_head_says_all_of_it(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    heads = page.run(f"{CELLS} return wanted.xAxis[0].data.map(one => one.split('\\n')[0])")
    canvas = page.one("#matrix canvas")
    page.run("arguments[0].scrollIntoView({block: 'center'})", canvas)
    place = page.run(f"{CELLS} return made.convertToPixel({{xAxisIndex: 0}}, 1) - made.getWidth() / 2")
    ActionChains(page.driver).move_to_element_with_offset(
        canvas, round(place), 20 - canvas.size["height"] // 2
    ).perform()
    until(page, f"document.querySelector('#matrix .state').textContent === '{heads[1]}: new on 139 hosts'")


def test_paper_cuts_a_wide_matrix_into_strips(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    count = f"{CELLS} return wanted.series.map(one => one.data.length)"
    whole = page.run(count)
    page.media("print")
    until(page, "document.querySelector('#matrix canvas').clientWidth === 680")
    strips = page.run(count)
    assert len(strips) == 2
    assert sum(strips) == sum(whole)
    assert page.run(f"{CELLS} return wanted.series.every(one => one.label.show)")
    page.picture("print-large-matrix", "#matrix")
    page.media("")
    until(page, "document.querySelector('#matrix canvas').clientWidth > 680")
    assert page.run(count) == whole
    assert page.errors() == []


def test_paper_says_how_many_rows_are_not_on_it(page: Page, large: pathlib.Path) -> None:
    page.open(large)
    assert not page.one("#hosts .cut").is_displayed()
    page.media("print")
    settled(page)
    assert page.one("#hosts .cut").text == "975 more rows are not shown here."
    page.media("")
    texts = [one.extract_text() for one in pypdf.PdfReader(io.BytesIO(page.printed("large"))).pages]
    assert any("975 more rows are not shown here." in text for text in texts)
    # Every page that hosts are on has the heads of their table.
    hosts = [text for text in texts[:4] if "fresh, " in text]
    assert len(hosts) > 1
    assert all("Can be emptied" in text for text in hosts)
    page.search("hv00777")
    page.media("print")
    assert not page.one("#hosts .cut").is_displayed()


def test_in_the_dark(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    paper = "return getComputedStyle(document.body).backgroundColor"
    light, chart = page.run(paper), drawn(page, "#capacity")
    page.media(prefers_color_scheme="dark")
    settled(page)
    assert light == "rgb(255, 255, 255)"
    assert page.run(paper) == "rgb(18, 23, 29)"
    assert drawn(page, "#capacity") != chart
    pictures(page, "dark-small")
    assert page.errors() == []


GREEN = bytes.fromhex("1b8a6b")  # of a cell that says yes


def images(made: pypdf.PdfReader) -> list[bytes]:
    """The pixels of all its pictures."""
    numbers = range(1, t.cast("int", made.trailer["/Size"]))
    objects = (made.get_object(pypdf.generic.IndirectObject(number, 0, made)) for number in numbers)
    streams = [one for one in objects if isinstance(one, pypdf.generic.StreamObject)]
    return [one.get_data() for one in streams if one.get("/Subtype") == "/Image"]


def test_on_paper(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    page.media(prefers_color_scheme="dark")
    settled(page)
    made = pypdf.PdfReader(io.BytesIO(page.printed("small")))
    page.media("print", prefers_color_scheme="dark")
    settled(page)
    assert sum(GREEN in each for each in images(made)) >= 3  # the maps that have a yes
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.one("#filter").is_displayed()
    until(page, "[...document.querySelectorAll('canvas')].every(one => one.clientWidth <= 680)")  # a page is as wide
    pictures(page, "print-small")
    assert page.errors() == []


@pytest.mark.fault("L10")
def test_hostile_texts_are_texts(page: Page, hostile: pathlib.Path) -> None:
    page.open(hostile)
    for number in range(len(page.all("#matrix .chart"))):
        grid = page.all("#matrix .chart")[number]
        page.run("arguments[0].focus()", grid)
        grid.send_keys(Keys.ARROW_RIGHT)
        grid.send_keys(Keys.ENTER)
    assert page.driver.title == "VFIO migration readiness"
    assert page.all("main script, main img, main svg, main iframe, main style, main a[href]") == []
    shown = page.run("return document.querySelector('main').textContent")
    for text in page_data.HOSTILE:
        assert _report.plain(text, 5000) in shown, text[:40]
    assert not any(char in shown for char in "\0\a\x1b\u202e")
    widths = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]  # long texts do not push the page apart
    assert page.errors() == []


def test_the_policy_of_the_page_stops_what_is_not_its_own(page: Page, small: pathlib.Path) -> None:
    page.open(small)
    page.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);"
    )
    settled(page)
    assert page.driver.title == "VFIO migration readiness"
    assert sum("Content Security Policy" in error for error in page.errors()) >= 2
