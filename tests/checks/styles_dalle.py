"""The right answers of checks/dalle.py again, written out with loops and Python's own numbers."""

OTHER_STYLE = {}
