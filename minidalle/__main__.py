"""The command line: python -m minidalle --help."""
from minidalle.course.commands import start

start()
