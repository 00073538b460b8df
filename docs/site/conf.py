# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site with the guides and the reference of every plugin and role: ``./dev docs``.

It is built without network, so what belongs to ansible-core itself is named and not linked.
"""

from __future__ import annotations

project = "vfio.migration"
copyright = "The vfio.migration authors"  # noqa: A001 - the name that Sphinx reads
title = html_title = html_short_title = "vfio.migration"

extensions = ["sphinx_antsibull_ext"]
default_role = "any"
nitpicky = True
nitpick_ignore_regex = [
    ("std:ref", r"ansible_collections\.ansible\.builtin\..*"),
    ("std:ref", r"ansible_configuration_settings|common_return_values|(action|callback)_plugins"),
    ("std:envvar", r"ANSIBLE_.*"),
]

highlight_language = "YAML+Jinja"
pygments_style = "ansible"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_modindex = False
html_use_index = False
html_copy_source = False
# The JSON schemas, under their own names.
html_extra_path = ["../schemas"]
