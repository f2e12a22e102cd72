"""The command line: python -m minidalle --help."""
import os
import signal

# to import torch takes a second, and whoever presses Ctrl-C in it wants no traceback
signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from minidalle.course.commands import start  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    start()
except KeyboardInterrupt:
    os._exit(130)
