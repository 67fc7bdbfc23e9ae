"""Lets nbval take decimals for equal that differ by what another processor makes of a training.

Kernels of PyTorch and ONNX Runtime add in another order on another processor. Words, whole numbers
and dates have to be the same.
"""

import re

from nbval.plugin import IPyNbCell

RELATIVE = 0.01
LAST_DIGITS = 2  # units in the last digit that is shown
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


class Output(str):
    """The text of an output, equal to one whose decimals are close."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        if _words(self) != _words(other):
            return False
        both = zip(_DECIMAL.findall(self), _DECIMAL.findall(other), strict=True)
        return all(one == another or _is_close(one, another) for one, another in both)

    def __ne__(self, other):
        return not self == other


def _words(text):
    # A table is padded by the width of its numbers.
    return re.sub(" +", " ", _DECIMAL.sub("#", text))


def _is_close(one, another):
    digits = min(len(text.partition("e")[0].partition(".")[2]) for text in (one, another))
    exponent = max(int(text.partition("e")[2] or 0) for text in (one, another))
    a, b = float(one), float(another)
    last = LAST_DIGITS * 10.0 ** (exponent - digits)
    return abs(a - b) <= max(1.001 * last, RELATIVE * max(abs(a), abs(b)))


_sanitize = IPyNbCell.sanitize


def _sanitize_to_output(self, s):
    text = _sanitize(self, s)
    return Output(text) if isinstance(text, str) else text


IPyNbCell.sanitize = _sanitize_to_output
