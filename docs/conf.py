"""Sphinx builds these pages: `make docs` writes them to build/docs."""

project = "Embodied memory"
author = "The authors of Embodied memory"
copyright = "Apache-2.0"  # noqa: A001 - the name that Sphinx reads
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["results/*/README.md"]
html_theme = "furo"
html_title = project
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_preserve_defaults = True
default_role = "code"
nitpicky = False
