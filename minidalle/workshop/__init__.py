r"""The workshop: from models to trained roads, tables, pictures and the command line.

Files here may import from the reading room, `minidalle/*.py`, and never from `minidalle/course/`.
"""
