"""The right answers of checks/dvae.py again, written out with loops and Python's own numbers."""

OTHER_STYLE = {}
