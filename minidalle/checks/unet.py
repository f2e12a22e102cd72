r"""The exercises of lesson 11.

in -> out   EXERCISES
"""
LESSON = "11_unet"

EXERCISES = ()
