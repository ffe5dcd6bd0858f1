"""Build the documentation: Markdown by MyST, NumPy docstrings of the installed package by autodoc."""

from importlib.metadata import version as installed_version

project = "dydx-perf"
author = "dydx-perf contributors"
release = version = installed_version("dydx-perf")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
napoleon_google_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
exclude_patterns = ["_build", "examples"]

html_theme = "furo"
html_title = "dydx-perf"
html_copy_source = False
