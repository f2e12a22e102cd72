r"""The exercises of lesson 07.

in -> out   EXERCISES
"""
LESSON = "07_dvae"

EXERCISES = ()
