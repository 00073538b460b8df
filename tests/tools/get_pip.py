# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for get-pip where ansible-test cannot fetch it: pip comes from ensurepip, then in the wanted version.

Copied as ``get_pip_24_2.py``; the version is in the name. Python 3.8 syntax: every host Python runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> None:
    version = os.path.splitext(os.path.basename(__file__))[0].replace("get_pip_", "").replace("_", ".")
    # In a child: ensurepip and the pip it unpacks must not stay loaded while pip replaces itself.
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip==" + version]
    subprocess.check_call(install)


if __name__ == "__main__":
    main()
