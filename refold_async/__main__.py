"""`python -m refold_async`: the command line."""

from .cli import main

main()
