# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site, by `make docs`: the pages as they are in the repository, and a reference made from the code.

The source folder is the root of the repository, so that a link from one file to another leads to the same place here and in the
repository. The built pages load nothing from elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lipbench import __version__

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

project = "lipbench"
author = "The lipbench maintainers"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton", "_site"]

root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "examples/README.md", "examples/*/README.md"]
exclude_patterns = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name not in ("docs", "examples"))

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 160
napoleon_use_rtype = False

html_theme = "furo"
html_title = "lipbench"
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # the search would fetch pages for it, which a browser refuses on a disk
html_permalinks_icon = "#"
copybutton_prompt_text = "$ "
