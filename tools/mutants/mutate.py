"""Changes of one thing at a time in a Python file, as edits of its text.

Left alone, because no test should hold them: texts (but those that are compared or looked up), docstrings, what is
logged, raised messages, `assert`, annotations, decorators, `__repr__`, and what is for the type checker alone.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from pathlib import Path

from attrs import evolve, frozen

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
}  # fmt: skip
_SKIPPED_FUNCTIONS = {"__repr__", "__str__", "__reduce__"}
_SKIPPED_CALLS = {"debug", "info", "warning", "exception", "error", "warn", "cast", "TypeVar"}


@frozen(order=True)
class Mutant:
    """One change.

    :ivar where: the function it is in, such as `RetryPolicy.decide`.
    :ivar start: where the replaced text begins, in bytes; `end` where it ends.
    """

    path: str
    line: int
    where: str
    start: int
    end: int
    before: str
    after: str
    nth: int = 1

    @property
    def name(self) -> str:
        """Name it by what it does, so that the name outlives changes elsewhere in the file."""
        nth = f" (no. {self.nth})" if self.nth > 1 else ""
        return f"{self.path}::{self.where}: {self.before} -> {self.after}{nth}"

    def apply(self, source: bytes) -> bytes:
        """Return the mutated file."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants_of(path: Path, name: str) -> list[Mutant]:
    """Return every mutant of a file, each of which still compiles."""
    source = path.read_bytes()
    finder = _Finder(source, name)
    finder.visit(ast.parse(source))
    seen: Counter[str] = Counter()
    numbered = []
    for mutant in sorted({each for each in finder.found if _compiles(each.apply(source))}):
        seen[mutant.name] += 1
        numbered.append(evolve(mutant, nth=seen[mutant.name]))
    return numbered


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class _Finder(ast.NodeVisitor):
    def __init__(self, source: bytes, name: str) -> None:
        self.source = source
        self.name = name
        self.found: list[Mutant] = []
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._scope: list[str] = []

    # --- What is left alone ---

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name in _SKIPPED_FUNCTIONS:
            return
        self._scope.append(node.name)
        for default in [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's own naming

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Types are narrowed there, and nothing is decided."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave a message alone."""

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value
        if isinstance(value, ast.Constant) or _is_talk(value):
            return
        if isinstance(value, ast.Call | ast.Await):
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets):
            return
        if self._scope and any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._replace(node, "pass")
        self.visit(node.value)

    # --- What is changed ---

    def visit_Compare(self, node: ast.Compare) -> None:
        left: ast.expr = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            self._between(left, right, _COMPARE.get(type(operator)))
            for text in (left, right):
                self._text(text)
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, "or" if isinstance(node.op, ast.And) else "and")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not any(isinstance(each, ast.JoinedStr) or _is_text(each) for each in (node.left, node.right)):
            self._between(node.left, node.right, _ARITHMETIC.get(type(node.op)))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace(node, "pass")
        after = _ARITHMETIC.get(type(node.op))
        self._between(node.target, node.value, None if after is None else f"{after}=")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._replace(node, self._text_of(node.operand))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1))
        elif isinstance(value, float):
            self._replace(node, repr(value * 2 if value else 1.0))

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            # To whoever asks for truth, None is the same as False.
            if not (isinstance(node.value, ast.Constant) and node.value.value in (None, False)):
                self._replace(node.value, "None")
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        if _is_talk(node):
            return
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "startswith") and node.args:
            self._text(node.args[0])
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    # --- Edits ---

    def _condition(self, test: ast.expr) -> None:
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Await):
            self._replace(test, f"not {self._text_of(test)}")

    def _text(self, node: ast.expr) -> None:
        """Change a text that is compared or looked up: it decides something. Others are for people."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and node.value:
            other = b"x" + node.value if isinstance(node.value, bytes) else "x" + node.value
            self._replace(node, repr(other))

    def _between(self, left: ast.expr, right: ast.expr, after: str | None) -> None:
        """Replace the operator between two operands."""
        if after is None:
            return
        start, end = self._end(left), self._start(right)
        gap = self.source[start:end].decode()
        before = gap.strip("() \t\n\\")
        at = gap.find(before)
        if before and "#" not in gap:
            offset = start + len(gap[:at].encode())
            self._add(left.end_lineno or left.lineno, before, after, offset, offset + len(before.encode()))

    def _replace(self, node: ast.stmt | ast.expr, after: str) -> None:
        self._add(node.lineno, self._text_of(node), after, self._start(node), self._end(node))

    def _add(self, line: int, before: str, after: str, start: int, end: int) -> None:
        shown = " ".join(self.source[self._lines[line - 1] : self._lines[line]].decode().split())
        short = f"`{' '.join(before.split())}` in `{shown}`" if before.strip() != shown else f"`{shown}`"
        where = ".".join(self._scope) or "module"
        self.found.append(Mutant(self.name, line, where, start, end, short, " ".join(after.split())))

    def _start(self, node: ast.stmt | ast.expr) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.stmt | ast.expr) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text_of(self, node: ast.stmt | ast.expr) -> str:
        return self.source[self._start(node) : self._end(node)].decode()


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_talk(node: ast.expr) -> bool:
    """Whether it logs, warns or is for the type checker."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _SKIPPED_CALLS


def draw(found: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draw so many of them, the same for the same seed and code; all where there are fewer.

    They come in the order drawn, so that the first of them are a fair sample, too.
    """
    return random.Random(seed).sample(found, min(count, len(found)))
