"""Write the pages of the API reference: one for each public name, and a list for each module.

Each build writes them into `docs/api/`, which is not in git. `tools/public_names.py` decides what is public.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from command_page import command_page
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment

from tools.public_names import PACKAGE, homes, kind, public_modules

COMMANDS = "command-line"
DIRECTIVES = {"class": "autoclass", "enum": "autoclass", "exception": "autoexception", "function": "autofunction"}


def underlined(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}\n\n"


def page(name: str, value: Any) -> str:
    """Return the page of one name."""
    module, _, short = name.rpartition(".")
    text = underlined(short, "=") + f".. currentmodule:: {module}\n\n"
    text += f".. {DIRECTIVES.get(kind(value), 'autodata')}:: {name}\n"
    if kind(value) == "enum":
        text += "   :undoc-members:\n"
    if inspect.isclass(value) and value.__bases__ != (object,):
        text += "   :show-inheritance:\n"
    return text


def summary(value: Any) -> str:
    """Return the first sentence of a docstring; data have none at run time."""
    if kind(value) == "data":
        return ""
    doc = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return f": {doc}"


def listing(names: dict[str, Any]) -> str:
    return "".join(f"- :py:obj:`~{name}`{summary(value)}\n" for name, value in names.items()) + "\n"


def toctree(names: Iterable[str], depth: int) -> str:
    return f".. toctree::\n   :hidden:\n   :maxdepth: {depth}\n\n" + "".join(f"   {name}\n" for name in names)


def module_page(module: ModuleType, names: dict[str, Any]) -> str:
    """Return the page that lists a module's names; those that live in another module are listed there."""
    title = module.__name__
    text = underlined(title, "=") + f".. py:module:: {title}\n\n{inspect.getdoc(module) or ''}\n\n"
    errors = {name: value for name, value in names.items() if kind(value) == "exception"}
    others = {name: value for name, value in names.items() if name not in errors}
    text += listing(others)
    if errors:
        text += underlined("Errors", "-") + listing(errors)
    return text + toctree([*others, *errors], 1)


def index(modules: dict[str, ModuleType]) -> str:
    """Return the page that lists all modules."""
    text = underlined("API reference", "=")
    text += "Every public name, with its signature. What is not listed here is private and may change at any time.\n\n"
    text += "For the shell: :doc:`command-line`.\n\n"
    text += "".join(f"- :py:mod:`{name}`{summary(module)}\n" for name, module in modules.items())
    return f"{text}\n{toctree([*modules, COMMANDS], 2)}"


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name."""
    by_module: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in homes().items():
        by_module[name.rpartition(".")[0]][name] = value
    modules = {module.__name__: module for module in public_modules() if module.__name__ in by_module}
    texts = {"index": index(modules), COMMANDS: command_page()}
    texts |= {name: module_page(module, by_module[name]) for name, module in modules.items()}
    texts |= {name: page(name, value) for names in by_module.values() for name, value in names.items()}
    return {f"{name}.rst": text for name, text in texts.items()}


def write_pages(app: Sphinx) -> None:
    """Write all pages; those that are as before keep their date, so that Sphinx does not read them again."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    texts = pages()
    for old in folder.glob("*.rst"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    app.env.refold_homes = {  # type: ignore[attr-defined]
        f"{value.__module__}.{value.__qualname__}": name
        for name, value in homes().items()
        if hasattr(value, "__qualname__")
    }


class NameRole(PyXRefRole):
    """Single backticks in a docstring: a link where the name can be found, else plain code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if self.text.startswith("."):  # `.delivery`: of which class, a machine cannot tell
            return [nodes.literal(self.rawtext, self.text)], []
        self.name = "py:obj"
        return super().run()


def resolve(_: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement) -> nodes.Node | None:
    """Lead a type in a signature, which Sphinx names by the private module it lives in, to its public page."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    home = env.refold_homes.get(target)  # type: ignore[attr-defined]
    if home is None:  # a private type is shown without a link; tests/docs/test_interface.py knows which those may be
        return contnode if f".{target}".rpartition(".")[0].startswith(f".{PACKAGE}.") else None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], env.app.builder, "obj", home, node, contnode)


def describe_inherited(_: Sphinx, what: str, __: str, value: Any, ___: Any, lines: list[str]) -> None:
    """Add the fields that a private base describes, since that base has no page."""
    if what not in ("class", "exception"):
        return
    public = {id(other) for other in homes().values()}
    for base in value.__mro__[1:]:
        if base.__module__.startswith(f"{PACKAGE}.") and id(base) not in public:
            doc = (inspect.getdoc(base) or "").splitlines()
            first = next((n for n, line in enumerate(doc) if line.startswith((":param", ":ivar"))), len(doc))
            lines += ["", *doc[first:]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it all to Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_role("name", NameRole())
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", describe_inherited)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": False}
