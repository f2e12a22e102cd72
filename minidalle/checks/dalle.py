r"""The exercises of lesson 08.

in -> out   EXERCISES
"""
LESSON = "08_dalle"

EXERCISES = ()
