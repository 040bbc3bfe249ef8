"""What receiving a webhook brings in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import refold_async

ROOT = Path(refold_async.__file__).parent


def test_webhooks_need_neither_a_client_nor_httpx() -> None:
    program = f"""
import sys, types
package = types.ModuleType("refold_async")
package.__path__ = [{str(ROOT)!r}]
sys.modules["refold_async"] = package
import refold_async.webhooks
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=150)
    loaded = set(done.stdout.split())
    assert "refold_async.webhooks" in loaded
    assert not {name.split(".")[0] for name in loaded} & {"httpx", "httpcore", "anyio", "ssl"}
    assert not {name for name in loaded if "client" in name}


def test_webhooks_import_the_standard_library_and_attrs_only() -> None:
    for path in (ROOT / "webhooks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names | {"attrs"}, f"{path.name} imports {name}"
