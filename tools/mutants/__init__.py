"""Mutation testing: do the fast tests notice when the code that decides is changed?

`python -m tools.mutants` draws mutants of the modules in `MODULES` with a seed, runs the tests of each module against
them, and prints the score and the survivors. mutmut's tests of a function (by trampolines) neither draw with a seed nor
leave the texts of messages alone, and they break classes with slots; so this is a driver of our own.
"""
