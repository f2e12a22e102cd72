r"""Answers: what a function returned, laid beside what it should have returned.

in -> out   got, want: tensors, numbers, texts, or lists, tuples and dicts of them -> a Difference
            that says in words what differs first, or None where nothing does
idea        Look from the outside in: is it the right kind of thing, has it the right shape, the
            right dtype, and only then the right values? The first of these that fails is what a
            beginner should mend first, so it is the only one that is told.
equation    |got - want| <= tolerance (1 + |want|), and two roundings of a coarser dtype
dtypes      float32 and float64 pass for each other: who computes in float64 is right too. Half
            precision passes only where half was given; whole numbers have the dtype that is asked.
kinds       A tensor without dimensions counts as a number, and so does a number of numpy's. A
            number does not count as a tensor without dimensions: no gradient could pass.
left out    sets, sparse tensors, objects
"""
import math
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

FULL = (torch.float32, torch.float64)          # right wherever floats are asked for
HALF = (torch.float16, torch.bfloat16)         # right where the right answer is half
LOOSE = 0.02                   # the most that any dtype excuses; eps of 8-bit floats is 1


@dataclass(frozen=True)
class Difference:
    state: str                 # "type", "shape", "dtype" or "wrong"
    message: str               # one or two sentences for the person who wrote the answer


def frozen(answer):
    """A copy that later calls cannot change: tensors plain, on the CPU, without gradients."""
    if isinstance(answer, Tensor):
        return answer.detach().cpu().clone()
    if isinstance(answer, dict):
        return {frozen(key): frozen(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        parts = [frozen(part) for part in answer]
        return parts if isinstance(answer, list) else tuple(parts)
    return answer.copy() if isinstance(answer, numpy.ndarray) else answer


def describe(value) -> str:
    """A value in a few words: "(2, 3) float32", "[3, 1, 4, ...]", "a function"."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {dtype_name(value)}"
    if callable(value):
        return "a function"
    if isinstance(value, float):
        return f"{value:.5g}"
    text = repr(value)
    return text if len(text) <= 40 else text[:36].rstrip(" ,") + " ..."


def dtype_name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def kind(value) -> str:
    """What sort of thing it is, as a beginner would say it."""
    if isinstance(value, Tensor):
        return "a tensor without values, or a sparse one" if is_odd(value) else "a tensor"
    if isinstance(value, numpy.ndarray):
        return "a numpy array"
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text",
             list: "a list", tuple: "a tuple", dict: "a dict", bytes: "bytes"}
    return names.get(type(value), f"an object of type {type(value).__name__}")


HINTS = {                      # (came, expected) -> the way from the one to the other
    ("a number", "a tensor"): "keep the tensor, without .item() or float()",
    ("a list", "a tensor"): "torch.stack or torch.tensor makes one",
    ("a numpy array", "a tensor"): "torch.from_numpy makes one",
    ("a tensor", "a list"): ".tolist() makes one",
    ("a number", "a whole number"): "use // in place of /",
    ("bytes", "a text"): ".decode() makes one",
    ("a text", "bytes"): ".encode() makes them"}


def difference(got, want, tolerance: float, name: str = "your answer") -> Difference | None:
    """What differs first between an answer and the right one; None where they agree.

    `name` says which part of the answer this is, for the message.
    """
    if got is None and want is not None:
        ask = "did you forget return?" if name == "your answer" else "a value is missing there"
        return Difference("type", begin(f"{name} is None: {ask}"))
    if isinstance(want, Tensor):
        return tensors(got, want, tolerance, name)
    if isinstance(want, (bool, int, float)):
        return numbers(got, want, tolerance, name)
    if isinstance(want, (list, tuple)):
        return sequences(got, want, tolerance, name)
    if isinstance(want, dict):
        return dicts(got, want, tolerance, name)
    if type(got) is not type(want):
        return other_type(got, want, name)
    return None if got == want else values(got, want, name)


def begin(sentence: str) -> str:
    """With a capital letter and a full stop or a question mark."""
    return sentence[0].upper() + sentence[1:] + ("" if sentence[-1] in ".?" else ".")


def other_type(got, want, name: str) -> Difference:
    came, expected = kind(got), kind(want)
    hint = HINTS.get((came, expected))
    if isinstance(want, Tensor) and want.ndim == 0:
        expected = "a tensor without dimensions"
    if isinstance(got, Tensor) and got.ndim and "number" in expected:
        came, hint = f"a tensor of the shape {tuple(got.shape)}", "one without dimensions counts"
    if isinstance(got, tuple) and isinstance(want, Tensor):
        hint = of_a_tuple(len(got), name)
    return Difference("type", begin(f"{name} is {came}, and {expected} was expected"
                                    + (f": {hint}" if hint else "")))


def of_a_tuple(length: int, name: str) -> str:
    """The way from a tuple to a tensor: it is no accident if it has several parts."""
    if length == 1:
        return "is there a comma too many?"
    if name != "your answer":
        return "are there brackets too many round its parts?"
    return "return the one that was asked for, or make one of all with torch.stack or torch.cat"


def values(got, want, name: str, more: str = "") -> Difference:
    return Difference("wrong", begin(f"{name} is {describe(got)}, and {describe(want)} was "
                                     f"expected{more}"))


def numbers(got, want, tolerance: float, name: str) -> Difference | None:
    """A numpy number or a tensor without dimensions counts as a number."""
    if isinstance(got, (numpy.generic, Tensor)) and got.ndim == 0 and not is_odd(got):
        got = got.item()
    types = (bool,) if isinstance(want, bool) else (int,) if isinstance(want, int) else (int, float)
    if type(got) not in types:
        return other_type(got, want, name)
    # subtle: NaN is close to nothing, not even to NaN; and isclose makes doubles of whole numbers,
    # where two that differ may be the same one
    if got == want or got != got and want != want or not isinstance(want, int) and math.isclose(
            got, want, rel_tol=tolerance, abs_tol=tolerance):
        return None
    return values(got, want, name)


def tensors(got, want: Tensor, tolerance: float, name: str) -> Difference | None:
    """Shape, then kind of dtype, then value. Another float dtype passes within its precision."""
    if not isinstance(got, Tensor) or is_odd(got):
        return other_type(got, want, name)
    if got.shape != want.shape:
        expected = tuple(want.shape) if want.ndim else "a tensor without dimensions, (),"
        return Difference("shape", begin(f"{name} has the shape {tuple(got.shape)}, and "
                                         f"{expected} was expected"))
    if not fits(got.dtype, want.dtype):
        return Difference("dtype", begin(f"{name} has the dtype {dtype_name(got)}, and "
                                         f"{dtype_name(want)} was expected"))
    if want.is_complex():                  # both parts count; .double() would drop one of them
        return tensors(as_real(got), as_real(want), tolerance, name)
    if got.dtype != want.dtype and want.is_floating_point():
        coarser = max(torch.finfo(x.dtype).eps for x in (got, want))
        tolerance = max(tolerance, min(2 * coarser, LOOSE))
    if got.dtype == want.dtype and torch.equal(got, want):
        return None
    same = torch.isclose(got.double(), want.double(), tolerance, tolerance, equal_nan=True)
    return None if same.all() else places(got, want, ~same, name)


def as_real(x: Tensor) -> Tensor:
    """Complex (...) as (..., 2): real part, imaginary part."""
    return torch.view_as_real(x.resolve_conj())


def is_odd(x) -> bool:
    """Without a value that could be read."""
    return isinstance(x, Tensor) and (x.layout is not torch.strided or x.is_meta)


def fits(got: torch.dtype, want: torch.dtype) -> bool:
    """Whether an answer of this dtype is one where that dtype is right. What has no business in
    an answer, such as floats of 8 bits, fits nowhere: few values are far from one of theirs."""
    if want in HALF:
        return got in FULL + HALF
    return got == want or got in FULL and want in FULL


def places(got: Tensor, want: Tensor, wrong: Tensor, name: str) -> Difference:
    """The first wrong place, what came, what was expected, and how many places are wrong."""
    where = wrong.nonzero()[0].tolist()
    came, expected = got[tuple(where)].item(), want[tuple(where)].item()
    dtype = f" (in {dtype_name(got)})" if got.dtype != want.dtype else ""
    odd = got.isnan().sum() or got.isinf().sum()
    finite = want.isfinite().all()         # else infinity belongs to the answer, elsewhere
    if odd and finite and not math.isfinite(came):
        what, why = "infinite", "a number that overflows"
        if got.isnan().any():
            what, why = "NaN", ("a 0 / 0, a 0 * inf, an exp that overflows, or the logarithm or "
                                "root of a number below 0")
        more = f"{dtype}; {odd} of {got.numel()} places are {what}: look for {why}"
        return values(came, expected, f"{name}{list(where) or ''}", more)
    more = f"{dtype}; {wrong.sum()} of {wrong.numel()} places differ" if where else dtype
    return values(came, expected, f"{name}{list(where) or ''}", more)


def sequences(got, want, tolerance: float, name: str) -> Difference | None:
    """A list may come as a tuple and the other way round; lengths, then the first wrong part."""
    if not isinstance(got, (list, tuple)):
        return other_type(got, want, name)
    parts = (difference(g, w, tolerance, f"{name}[{i}]") for i, (g, w) in enumerate(zip(got, want)))
    first = next((one for one in parts if one), None)
    if len(got) == len(want):
        return first
    more = f"; and {first.message[0].lower()}{first.message[1:]}" if first else ""
    return Difference("shape", begin(f"{name} has {len(got)} parts, and {len(want)} were "
                                     f"expected{more}"))


def dicts(got, want: dict, tolerance: float, name: str) -> Difference | None:
    if not isinstance(got, dict):
        return other_type(got, want, name)
    missing, extra = [k for k in want if k not in got], [k for k in got if k not in want]
    if missing or extra:
        what = f"lacks the key {missing[0]!r}" if missing else f"has a key too many, {extra[0]!r}"
        more = f"; it has {len(got)} keys, and {len(want)} were expected"
        return Difference("wrong", begin(f"{name} {what}{more}"))
    found = (difference(got[k], want[k], tolerance, f"{name}[{k!r}]") for k in want)
    return next((one for one in found if one), None)
