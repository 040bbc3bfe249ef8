"""Names of the languages in which our examples are written, for the highlighter."""

from __future__ import annotations

from pygments.lexers.data import JsonLexer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the languages that Pygments has under other names, or not at all."""
    app.add_lexer("jsonl", JsonLexer)
    app.add_lexer("csv", TextLexer)
    return {"parallel_read_safe": True}
