"""`refold-async batch`: rows of a file, each fired once, with a journal to go on from. It begins in `command.py`."""
