"""How the documentation is built: `make docs`, without a network, with every warning an error."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]

from refold_async import __version__  # noqa: E402 - found by the line above

with (ROOT / "pyproject.toml").open("rb") as file:
    PROJECT = tomllib.load(file)["project"]

project = "refold_async"
author = "the refold_async contributors"
project_copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "api_pages",
    "extras",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_inventories", "_ext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", "(?s).*"),  # single backticks in docstrings: a link where there is something to link to
    ("py:.*", r"httpx\..*"),  # httpx has no inventory of all its names: _inventories/make.py lists the usual ones
    ("py:.*", r"(ssl|typer|redis|psycopg|procrastinate|pgqueuer|opentelemetry|httpcore|_typeshed)\..*"),
    ("py:class", r"(?!refold_async)\w+\..*\b_\w+\..*"),  # where another project's class really lives
    ("py:class", r"asyncio\.events\..*"),
    ("py:class", r"(collections\.abc\.)?Callable\[.*"),  # a list of arguments, which Sphinx takes for a name
    ("py:class", r"[A-Z]\w+|datetime"),  # names that only the type checker imports: aliases, shown as they are written
]
default_role = "name"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "_inventories/python.inv"),
    "anyio": ("https://anyio.readthedocs.io/en/stable", "_inventories/anyio.inv"),
    "httpx": ("https://www.python-httpx.org", "_inventories/httpx.inv"),
}

html_theme = "furo"
pygments_style = "tango"
pygments_dark_style = "monokai"
html_title = f"refold_async {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {
    "source_repository": PROJECT["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [],
}
copybutton_prompt_text = r"^\$ "
copybutton_prompt_is_regexp = True
