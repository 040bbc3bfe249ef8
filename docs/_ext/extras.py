"""Small things that Sphinx needs to be told: languages for the highlighter, and files that raw HTML refers to."""

from __future__ import annotations

import shutil
from pathlib import Path

from pygments.lexers.data import JsonLexer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

CHARTS = "benchmarks"


def copy_charts(app: Sphinx, error: Exception | None) -> None:
    """Copy the charts, which `<picture>` names and Sphinx therefore does not see."""
    source = Path(app.srcdir) / CHARTS
    if error is None and source.is_dir():
        shutil.copytree(source, Path(app.outdir) / CHARTS, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register languages that Pygments has under other names or not at all, and the charts."""
    app.add_lexer("jsonl", JsonLexer)
    app.add_lexer("csv", TextLexer)
    app.connect("build-finished", copy_charts)
    return {"parallel_read_safe": True}
