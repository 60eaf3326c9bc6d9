"""Sphinx configuration of the site; `docs/site/build.py` lays the sources and calls Sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mtljax import __version__

project = "mtljax"
author = "the authors of mtljax"
release = version = __version__
root_doc = "index"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "mathml",
]
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
# What autodoc writes stands in files of this type, the guides are Markdown.
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and dtypes, which annotations cannot
autodoc_preserve_defaults = True
default_role = "py:obj"
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_use_rtype = False
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"mtljax {__version__}"
html_theme_options = {"navigation_with_keys": True}
html_static_path = [str(Path(__file__).resolve().parent / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
