# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows: blocks of code by language, and the commands in them and in its sentences."""

from __future__ import annotations

import re
import textwrap
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/docsite/rst/*.rst", "roles/*/README.md", "tests/fleet/*/README.md")
    for path in ROOT.glob(pattern)
)

_RST = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|[ ]*\n)+)", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A whole command in a sentence; the name of a program alone is none.
_INLINE = re.compile(r"(?<!`)`{1,2}((?:ansible(?:-[a-z]+)?|antsibull-[a-z]+|virsh|\./dev|python) [^`]+?)`{1,2}(?!`)")


class Block(t.NamedTuple):
    """One block of code."""

    line: int
    """Of its first line."""
    language: str
    text: str


class Command(t.NamedTuple):
    """Something that a reader is told to type."""

    line: int
    text: str
    """In one line, without what the prompt is."""
    output: str
    """What is shown below it."""


def name(document: Path) -> str:
    """How the tables call it."""
    return str(document.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    """All blocks of a document, reStructuredText or Markdown."""
    found = []
    for match in _RST.finditer(text):
        found.append(Block(_line(text, match.start(3)), match[2], textwrap.dedent(match[3]).strip("\n") + "\n"))
    for match in _FENCE.finditer(text):
        found.append(Block(_line(text, match.start(2)), match[1] or "console", match[2]))
    return sorted(found)


def commands(text: str) -> list[Command]:
    """All commands of a document, in the order in which they are read; each sentence's once."""
    found = [command for block in blocks(text) if block.language == "console" for command in _session(block)]
    shown = {command.text for command in found}
    for match in _INLINE.finditer(text):
        words = " ".join(match[1].split())
        if words not in shown:
            shown.add(words)
            found.append(Command(_line(text, match.start(1)), words, ""))
    return sorted(found)


def _session(block: Block) -> t.Iterator[Command]:
    """Commands have a prompt, and what follows without one is output; where no line has one, all are commands."""
    lines = block.text.splitlines()
    prompt = next((one for one in ("$ ", "# ") if any(line.startswith(one) for line in lines)), "")
    number = 0
    while number < len(lines):
        start, typed = number, lines[number].removeprefix(prompt)
        assert lines[number].startswith(prompt), f"output without a command: {lines[number]}"
        while typed.endswith("\\"):
            number += 1
            typed = typed[:-1].rstrip() + " " + lines[number].strip()
        number += 1
        output = []
        while prompt and number < len(lines) and not lines[number].startswith(prompt):
            output.append(lines[number] + "\n")
            number += 1
        if typed.strip():
            # What is said about a command is no part of it; a command that only says something is for the reader.
            what = typed if typed.startswith("#") else re.sub(r"\s{2,}# .*", "", typed)
            yield Command(block.line + start, what.strip(), "".join(output))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
