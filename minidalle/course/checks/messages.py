r"""Messages: what two processes say to each other, one of which is not trusted.

in -> out   a Reply, or arguments -> lines of JSON through a socket -> the same on the other side
idea        What comes from a stranger is read as numbers and texts, and nothing else: to unpickle
            it would be to run it. A line that is no message is passed over, so that what somebody
            else prints into the socket disturbs nobody. Objects that have no place in an answer
            arrive as a stand-in that says of what type they were.
left out    encryption, several threads, tensors of more than MOST entries (only their shape comes)
"""
import base64
import json
import time
from collections import deque
from contextlib import suppress
from socket import socket

import numpy
import torch
from torch import Tensor

from minidalle.course.checks.running import REASONS, Failure, Outcome, Reply

MOST = 10 ** 6                 # entries of a tensor; an exercise asks with 10 ** 5 at most
LIMIT = 2 ** 26                # bytes of a line: five rounds of a few such tensors
LONG = 2000                    # letters of what somebody else says about an error


class Line:
    """One end of the conversation. ConnectionError if the other end is gone, TimeoutError if it
    takes longer than so many seconds."""

    def __init__(self, end: socket):
        self.end, self.begun, self.waiting = end, bytearray(), deque()

    def send(self, message: dict, seconds: float | None = None) -> None:
        self.end.settimeout(seconds)
        self.end.sendall(f"\n{json.dumps(message)}\n".encode())    # whatever stood before, ends

    def receive(self, seconds: float | None = None) -> dict:
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            if self.waiting:
                with suppress(ValueError, RecursionError):
                    if isinstance(message := json.loads(self.waiting.popleft()), dict):
                        return message
                continue
            self.end.settimeout(left)
            self.read()

    def read(self) -> None:
        """What has come, in whole lines."""
        data = self.end.recv(2 ** 20)
        self.begun += data
        if not data or len(self.begun) > LIMIT:
            raise ConnectionError
        if b"\n" in data:
            *lines, rest = bytes(self.begun).split(b"\n")
            self.waiting.extend(filter(None, lines))
            self.begun = bytearray(rest)


# ---- replies

def packed(reply: Reply) -> list:
    """A reply as plain data."""
    outcomes = [[plain(one.answer), plain(one.given), one.error and
                 [one.error.kind, one.error.text[:LONG], one.error.lines, one.error.unwritten]]
                for one in reply.outcomes]
    return [reply.reason, reply.text[:LONG], reply.lines, outcomes]


def unpacked(data: list) -> Reply:
    """The reply again. ValueError, TypeError or RuntimeError if it never was one."""
    reason, text, lines, outcomes = data
    if reason not in REASONS:
        raise ValueError(f"{reason!r} is no reason")
    return Reply(tuple(Outcome(rebuilt(answer), error and failure(*error), rebuilt(given))
                       for answer, given, error in outcomes),
                 reason, str(text), tuple(map(str, lines)))


def failure(kind, text, lines, unwritten) -> Failure:
    return Failure(str(kind), str(text), tuple(map(str, lines)), bool(unwritten))


# ---- values

def plain(value):
    """A value as JSON: what JSON has not, is a dict with the name of its type."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [plain(part) for part in value]
    if type(value) is tuple:
        return {"tuple": [plain(part) for part in value]}
    if type(value) is dict:
        return {"dict": [[plain(key), plain(part)] for key, part in value.items()]}
    if type(value) is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Tensor):
        return plain_tensor(value)
    if isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.kind in "biufc":
        with suppress(TypeError):              # PyTorch lacks some of numpy's dtypes
            whole = torch.from_numpy(numpy.ascontiguousarray(value).reshape(value.shape))
            name = "array" if isinstance(value, numpy.ndarray) else "scalar"
            return {name: plain_tensor(whole)}
    return {"object": type(value).__name__, "text": shown(value)}


def plain_tensor(x: Tensor) -> dict:
    if x.layout is not torch.strided or x.is_meta or x.is_quantized:
        return {"tensor": None}
    data = None
    if x.numel() <= MOST:
        x = x.resolve_conj().resolve_neg().contiguous()
        data = base64.b64encode(x.reshape(-1).view(torch.uint8).numpy()).decode()
    return {"tensor": str(x.dtype).removeprefix("torch."), "shape": list(x.shape), "data": data}


def shown(value) -> str:
    try:
        return repr(value)[:LONG]
    except Exception:
        return ""


def rebuilt(data):
    """The value again. ValueError, TypeError or RuntimeError if it never was one."""
    if isinstance(data, list):
        return [rebuilt(part) for part in data]
    if not isinstance(data, dict):
        return data
    if "tensor" in data:
        return tensor(**data)
    name = next(iter(data), None)
    if name not in REBUILD:
        raise ValueError(f"{name!r} is no kind of value")
    return REBUILD[name](**data)


def tensor(tensor, shape=(), data=None) -> Tensor:
    if tensor is None:                         # of a kind that is no right answer
        return torch.empty(0, device="meta")
    dtype = getattr(torch, tensor, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{tensor!r} is no dtype")
    if data is None:                           # too large: a tensor of that shape, without memory
        return torch.zeros((), dtype=dtype).expand(shape)
    whole = bytearray(base64.b64decode(data))
    flat = torch.frombuffer(whole, dtype=dtype) if whole else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


def stand_in(object, text):
    """It has the name of its type and looks the same, and that is all."""
    return type(object, (), {"__repr__": lambda self: text})()


REBUILD = {
    "tuple": lambda tuple: (*rebuilt(tuple),),
    "dict": lambda dict: {rebuilt(key): rebuilt(part) for key, part in dict},
    "bytes": lambda bytes: base64.b64decode(bytes),
    "array": lambda array: rebuilt(array).numpy(),
    "scalar": lambda scalar: rebuilt(scalar).numpy()[()],
    "object": stand_in}
