r"""The exercises of lesson 10.

in -> out   EXERCISES
"""
LESSON = "10_diffusion"

EXERCISES = ()
