"""Thousands of triggers in scenes of trouble, with what the client says of each held against the mock's ledger.

`python -m tests.campaigns.chaos --triggers 10000 --seed 1` plays every scene; `--scene NAME` plays one. It prints what
it counted, and fails loudly where a verdict is not true, a call never ended, or something is left over.
"""
