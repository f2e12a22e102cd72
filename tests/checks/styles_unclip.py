"""The right answers of checks/unclip.py again, written out with loops and Python's own numbers."""

OTHER_STYLE = {}
