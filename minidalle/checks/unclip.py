r"""The exercises of lesson 13.

in -> out   EXERCISES
"""
LESSON = "13_unclip"

EXERCISES = ()
