# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""View -> one HTML file that needs no network.

Nothing that hosts say becomes markup: it is JSON in a block that browsers do not run, and ``page.js`` shows it as text.
The policy in the page lets only its own two scripts and its own style act, and loads nothing at all.

This file is private to the collection and pure.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t


class Assets(t.NamedTuple):
    """The files of ``report_page``."""

    template: str
    style: str
    library: str
    """Apache ECharts, as published."""
    script: str


# What would end the block, or begin a comment in it; JSON knows these characters by number as well.
_UNSAFE: t.Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def render(view: t.Mapping[str, t.Any], fingerprint: str, assets: Assets) -> str:
    """The whole file; ``fingerprint`` is in its head, for the next run to compare."""
    parts = {
        "policy": policy(assets),
        "fingerprint": fingerprint,
        "style": assets.style,
        "library": assets.library,
        "script": assets.script,
        "data": embedded(view),
    }
    # Split first: what is put in may look like a place itself.
    pieces = assets.template.split("@@")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def embedded(value: object) -> str:
    """JSON that may stand between the tags of a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for char, number in _UNSAFE.items():
        text = text.replace(char, number)
    return text


def policy(assets: Assets) -> str:
    """Content-Security-Policy: these scripts, this style, nothing else."""
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (assets.library, assets.script))
    rules = (
        "default-src 'none'",
        f"script-src {scripts}",
        f"style-src 'sha256-{_digest(assets.style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
