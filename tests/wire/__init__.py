"""The pool transport against its contract: hostile servers, storms, fuzz, and the tools that hook into httpx.

`POOL_TESTS_WIRE=httpx` runs what can be run on the stock wire, to see where the two differ.
"""
