"""The right answers of checks/diffusion.py again, written out with loops and Python's own numbers."""

OTHER_STYLE = {}
