# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev docs``: the site with all guides and the reference of every plugin and role. A warning is an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from . import setup

SETTINGS = setup.ROOT / "docs" / "site"
FOLDER = setup.CACHE / "docs"
START = FOLDER / "html" / "index.html"


def commands() -> tuple[tuple[str, ...], ...]:
    """What makes it: pages from the documentation of the plugins and the guides, a site from the pages."""
    pages = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", f"{FOLDER}/rst", "vfio.migration")
    return (
        ("antsibull-docs", "--config-file", f"{SETTINGS}/antsibull-docs.cfg", "collection", *pages),
        ("sphinx-build", "-M", "html", f"{FOLDER}/rst", str(FOLDER), "-c", str(SETTINGS), "-W", "--keep-going", "-q"),
    )


def missing_pages(html: Path) -> list[str]:
    """Guides that did not get a page."""
    guides = sorted((setup.ROOT / "docs" / "docsite" / "rst").glob("*.rst"))
    return [guide.name for guide in guides if not (html / "docsite" / f"{guide.stem}.html").exists()]


def main() -> int:
    # What an earlier run left may be a page of a plugin that is gone.
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "rst").mkdir(parents=True, mode=0o755)
    for command in commands():
        if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode:
            print(f"./dev docs: {command[0]} found something to mend, see above.", file=sys.stderr)
            return 1
    missing = missing_pages(START.parent)
    if missing:
        print(f"./dev docs: {', '.join(missing)} is not in docs/docsite/extra-docs.yml.", file=sys.stderr)
        return 1
    print(f"{len(list(START.parent.rglob('*.html')))} pages without a warning: {START}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
