r"""The exercises of lesson 12.

in -> out   EXERCISES
"""
LESSON = "12_prior"

EXERCISES = ()
