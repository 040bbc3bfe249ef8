"""Which modules decide, and which fast tests hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_WIRE: Final = ("connection", "flight", "pool", "loop_pool", "parser", "response_head", "streamed", "scope", "timer")

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "policies/*.py": ("tests/unit/policies", "tests/client/test_verdicts.py"),
    **dict.fromkeys(
        ("policies/budget.py", "policies/retry.py", "policies/retry_after.py", "policies/verdict.py"),
        ("tests/unit/policies/test_verdict_model.py", "tests/unit/policies/test_verdict_table.py",
            "tests/unit/policies/test_policies.py", "tests/unit/policies/test_decisions.py",
            "tests/unit/policies/test_retry_edges.py", "tests/client/test_hints.py",),
    ),
    "policies/circuit.py": ("tests/unit/policies/test_circuit.py",),
    "policies/fence.py": ("tests/unit/policies/test_fence.py",),
    "policies/pacing.py": ("tests/unit/policies/test_pacing.py", "tests/unit/limiters"),
    "policies/shared_pacing.py": ("tests/unit/policies/test_shared_pacing.py",),
    "_types/evidence.py": ("tests/unit/wire", "tests/client/test_verdicts.py", "tests/wire/test_evidence.py"),
    "limiters/memory.py": ("tests/unit/limiters", "tests/unit/policies", "tests/client/test_pacing.py"),
    "limiters/_queue.py": ("tests/unit/limiters",),
    "limiters/_untold.py": ("tests/unit/limiters",),
    "limiters/_shared.py": ("tests/unit/limiters",),
    "limiters/_adapt.py": ("tests/unit/limiters", "tests/client/test_code_of_the_user.py"),
    "_core/*.py": (
        "tests/unit/core", "tests/client/test_verdicts.py", "tests/client/test_retries.py",
        "tests/client/test_evidence_of_other_requests.py", "tests/client/test_code_of_the_user.py",
        "tests/client/test_lifecycle.py", "tests/client/test_guards.py", "tests/client/test_watching.py",
        "tests/client/test_transports.py", "tests/client/test_session.py",
    ),
    **dict.fromkeys(
        ("_core/attempt.py", "_core/call.py", "_core/launch.py", "_core/sender.py", "_core/slots.py"),
        (
            "tests/client/test_attempts.py", "tests/unit/core", "tests/client/test_verdicts.py",
            "tests/client/test_retries.py", "tests/client/test_ended_in_the_same_turn.py",
            "tests/client/test_evidence_of_other_requests.py", "tests/client/test_code_of_the_user.py",
            "tests/client/test_lifecycle.py", "tests/client/test_pending_cancellation.py",
            "tests/client/test_cut_at_every_await.py", "tests/client/test_watching.py",
            "tests/client/test_transports.py", "tests/client/test_broken_limiters.py", "tests/client/test_guards.py",
        ),
    ),
    **dict.fromkeys(
        ("_core/settings.py", "_core/assemble.py", "_core/credentials.py"),
        (
            "tests/client/test_config.py", "tests/client/test_bad_settings.py", "tests/client/test_settings_table.py",
            "tests/client/test_rate_limit_setting.py", "tests/client/test_secrets.py", "tests/client/test_attempts.py",
            "tests/client/test_secrets_of_settings.py", "tests/client/test_code_of_the_user.py",
            "tests/client/test_verdicts.py", "tests/client/test_retries.py",
        ),
    ),
    "_core/lifecycle.py": (
        "tests/client/test_lifecycle.py", "tests/client/test_loops.py", "tests/client/test_loops_that_change.py",
        "tests/client/test_guards.py", "tests/client/test_session.py", "tests/resources/test_resend.py",
        "tests/client/test_shared_client.py", "tests/client/test_verdicts.py", "tests/client/test_transports.py",
    ),
    "_core/results.py": (
        "tests/client/test_messages.py", "tests/client/test_values.py", "tests/client/test_conflict.py",
        "tests/client/test_verdicts.py", "tests/client/test_outcomes.py",
    ),
    "_core/plain.py": (
        "tests/resources/test_request.py", "tests/client/test_circuit_breaker.py",
        "tests/resources/test_executions.py", "tests/unit/core",
    ),
    "_core/gate.py": ("tests/client/test_circuit_breaker.py",),
    "transports/*.py": (
        "tests/client/test_transports.py", "tests/client/test_session.py", "tests/client/test_both_roads.py",
        "tests/contract/test_compatibility.py",
    ),
    "_batch/*.py": (
        "tests/batch/test_many.py", "tests/batch/test_stream.py", "tests/batch/test_ordering.py",
        "tests/batch/test_sources.py", "tests/batch/test_cancelled.py", "tests/batch/test_throttled.py",
    ),
    **dict.fromkeys((f"_wire/{name}.py" for name in _WIRE), (
        "tests/wire/test_truth_table.py", "tests/wire/test_evidence.py", "tests/wire/test_sharing.py",
        "tests/wire/test_cancellation.py", "tests/wire/test_closing.py", "tests/wire/test_timeouts.py",
        "tests/wire/test_early_answers.py", "tests/wire/test_connecting.py", "tests/wire/test_streaming.py",
        "tests/wire/test_smuggling.py",
    )),
    **dict.fromkeys(
        ("_wire/httpx_wire.py", "_wire/observed.py"),
        ("tests/client/test_verdicts.py", "tests/client/test_evidence_of_other_requests.py",
            "tests/unit/wire/test_plain_and_careful.py", "tests/wire/test_evidence.py",
            "tests/client/test_both_roads.py", "tests/client/test_session.py",
            "tests/contract/test_compatibility.py"),
    ),
    **dict.fromkeys(
        ("_wire/parser.py", "_wire/response_head.py"),
        (
            "tests/unit/wire/test_framing.py", "tests/unit/wire/test_plain_and_careful.py",
            "tests/wire/test_truth_table.py", "tests/wire/test_smuggling.py", "tests/wire/test_broken_off.py",
            "tests/wire/test_streaming.py", "tests/wire/test_evidence.py", "tests/wire/test_early_answers.py",
        ),
    ),
    "_wire/connect.py": ("tests/wire/test_connecting.py", "tests/wire/test_evidence.py", "tests/wire/test_timeouts.py",
        "tests/wire/test_tls.py", "tests/client/test_messages.py", "tests/wire/test_outbound.py"),
    "_wire/loops.py": ("tests/unit/limiters", "tests/client/test_guards.py", "tests/client/test_code_of_the_user.py",
        "tests/client/test_lifecycle.py"),
    **dict.fromkeys(
        ("_api/plain.py", "_api/response.py"),
        ("tests/resources/test_request.py", "tests/resources/test_targets.py",
            "tests/unit/core/test_plain_acceptance.py", "tests/unit/wire", "tests/client/test_verdicts.py",
            "tests/client/test_values.py", "tests/client/test_messages.py"),
    ),
    **dict.fromkeys(
        ("cli/batch/recovery.py", "cli/batch/table.py", "cli/batch/journal.py"),
        (
            "tests/cli/batch/test_journal_table.py", "tests/cli/batch/test_journal_file.py",
            "tests/cli/batch/test_journal.py", "tests/cli/batch/test_journal_window.py",
        ),
    ),
}  # fmt: skip
"""Patterns below refold_async/, each with the tests to run, the likeliest to notice first. The last match counts."""


def modules(root: Path, only: str = "*") -> dict[Path, tuple[str, ...]]:
    """Return the modules that there are, relative to `root`, and the tests of each that there are."""
    found: dict[Path, tuple[str, ...]] = {}
    for pattern, tests in MODULES.items():
        for path in sorted((root / "refold_async").glob(pattern)):
            if path.name != "__init__.py" and path.match(only):
                found[path.relative_to(root)] = tuple(test for test in tests if (root / test).exists())
    return found
