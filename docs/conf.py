"""How Sphinx builds these pages: ``sphinx-build -W docs docs/_build``."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "blobman"
author = "the blobman developers"
project_copyright = author
release = version = metadata.version("blobman")

extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"blobman {release}"

# Links to headings work as they do on the forges that show the same files.
myst_heading_anchors = 4

autoclass_content = "both"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
