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
# A type in prose, "(address, number)", names attributes of several classes: which one does not matter.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "dydx-perf"
html_copy_source = False

# Napoleon takes what stands before a colon in a property's first line for its type. Here it is prose, so the
# colon is out of sight while Napoleon reads (its priority is 500).
HIDDEN_COLON = "\ue000"


def replace_in_properties(old, new):
    """Return an autodoc listener that replaces a character in the docstrings of properties and attributes."""

    def listen(app, what, name, obj, options, lines):
        if what in ("attribute", "data", "property"):
            lines[:] = [line.replace(old, new) for line in lines]

    return listen


def setup(app):
    """Hide colons from Napoleon, and show them again."""
    app.connect("autodoc-process-docstring", replace_in_properties(":", HIDDEN_COLON), priority=400)
    app.connect("autodoc-process-docstring", replace_in_properties(HIDDEN_COLON, ":"), priority=600)
