"""The record of the public interface: names, signatures, fields and the command line's options, as text.

    python -m tools.interface            # print it
    python -m tools.interface --write    # write it to tests/docs/interface/, a file for each module (`make interface`)

A test compares the files with the code, so that a change of the interface is seen in review.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .public_names import fields, homes, kind, members

RECORD = Path(__file__).parent.parent / "tests" / "docs" / "interface"
HEAD = "# The public interface, as `make interface` writes it. A line that changes here is a change for users.\n"


def text_of(annotation: Any) -> str:
    """Return an annotation as it is written in the source, where it is kept as a string."""
    if isinstance(annotation, str):
        return annotation
    return str(getattr(annotation, "__name__", annotation))


def parameter(value: inspect.Parameter) -> str:
    text = value.name
    if value.kind is value.VAR_POSITIONAL:
        text = f"*{text}"
    elif value.kind is value.VAR_KEYWORD:
        text = f"**{text}"
    if value.annotation is not value.empty:
        text += f": {text_of(value.annotation)}"
    if value.default is not value.empty:
        text += f" = {default(value.default)}"
    return text


def default(value: Any) -> str:
    """Return a default as one would write it: no addresses, no module names."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple) and value and all(inspect.isclass(item) for item in value):
        return f"({', '.join(item.__name__ for item in value)},)"
    if inspect.isclass(value):
        return value.__name__
    return "..." if callable(value) or " at 0x" in repr(value) else repr(value)


def signature(function: Any) -> str:
    """Return a signature as in the source, `self` left out."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    shown, last = [], None
    for value in found.parameters.values():
        if value.name in ("self", "cls"):
            continue
        if value.kind is value.KEYWORD_ONLY and last not in (value.KEYWORD_ONLY, value.VAR_POSITIONAL):
            shown.append("*")
        if last is value.POSITIONAL_ONLY and value.kind is not last:
            shown.append("/")
        shown.append(parameter(value))
        last = value.kind
    if last is inspect.Parameter.POSITIONAL_ONLY:
        shown.append("/")
    returned = "" if found.return_annotation is found.empty else f" -> {text_of(found.return_annotation)}"
    return f"({', '.join(shown)}){returned}"


def member(name: str, value: Any, cls: type) -> str:
    """Return the line of one member of a class."""
    if isinstance(value, property):
        returned = inspect.signature(value.fget).return_annotation if value.fget else inspect.Signature.empty
        return f"{name} -> {text_of(returned)}" if returned is not inspect.Signature.empty else f"{name} (property)"
    if isinstance(value, staticmethod | classmethod):
        return f"{type(value).__name__} {name}{signature(value.__func__)}"
    if inspect.isroutine(value):
        prefix = "async " if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value) else ""
        return f"{prefix}{name}{signature(value)}"
    if isinstance(value, enum.Enum) and isinstance(value, cls):
        return f"{name} = {value.value!r}"
    annotation = next(
        (base.__annotations__[name] for base in cls.__mro__ if name in vars(base).get("__annotations__", {})), ""
    )
    return f"{name}: {text_of(annotation)}" if annotation else name


def class_lines(name: str, cls: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"{kind(cls)} {name}" + (f"({bases})" if bases else "")
    if "__init__" in vars(cls) and kind(cls) != "enum" and not getattr(cls, "_is_protocol", False):
        yield f"    {signature(vars(cls)['__init__'])}".replace(" -> None", "")
    known = dict(members(cls)) | {field: None for field in fields(cls) if field not in dict(members(cls))}
    for member_name, value in sorted(known.items()):
        yield f"    {member(member_name, value, cls)}"


def lines_of(name: str, value: Any) -> Iterator[str]:
    """Yield the lines of one public name."""
    if inspect.isclass(value):
        yield from class_lines(name, value)
    elif inspect.isroutine(value):
        yield f"{'async ' if inspect.iscoroutinefunction(value) else ''}function {name}{signature(value)}"
    else:
        yield f"data {name}"


def command_lines() -> Iterator[str]:
    """Yield the lines of every command, its arguments and options."""
    import typer.main

    from refold_async.cli.app import app

    command = typer.main.get_command(app)
    commands = getattr(command, "commands", {"": command})
    for name, found in sorted(commands.items()):
        yield f"command refold-async {name}".rstrip()
        for param in found.params:
            names = "/".join([*param.opts, *param.secondary_opts])
            default = "" if param.required or param.default in (None, False) else f" = {param.default}"
            marks = " (required)" * param.required + " (repeatable)" * getattr(param, "multiple", False)
            yield f"    {names}{marks}{default}"


def record() -> dict[str, str]:
    """Return the whole record: the text of each file, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in homes().items():
        found[f"{name.rpartition('.')[0]}.txt"] += lines_of(name, value)
    found["command-line.txt"] = list(command_lines())
    return {name: HEAD + "".join(f"{line}\n" for line in lines) for name, lines in found.items()}


def recorded() -> dict[str, str]:
    """Return the record as it was written last."""
    return {path.name: path.read_text() for path in RECORD.glob("*.txt")}


def write() -> None:
    """Write the record, and remove the files of modules that are gone."""
    RECORD.mkdir(exist_ok=True)
    found = record()
    for name in recorded().keys() - found.keys():
        (RECORD / name).unlink()
    for name, text in found.items():
        (RECORD / name).write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        sys.stdout.write("\n".join(record().values()))
