"""Strict JSON: what is decoded, and how what is not is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.problems import RequestError
from serving.http.strict_json import DEPTH, decode_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS = st.recursive(
    SCALARS, lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside), max_leaves=20
)


def is_finite(document):
    return "Infinity" not in json.dumps(document)


@given(DOCUMENTS.filter(is_finite), st.booleans())
def test_decode_json_reads_what_the_standard_library_reads(document, ascii_only):
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert repr(decode_json(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice in one object"),
        (b'{"a": [{"b": 1}, {"b": 1, "b": 1}]}', "the key 'b' is there twice in one object"),
        (b'{"a": "one: two", "a": 1}', "the key 'a' is there twice in one object"),
        (b'{"a": 1, "\\u0061": 1}', "the key 'a' is there twice in one object"),
        (b'{"a": NaN}', "NaN is not JSON; expected null where a number is missing"),
        (b"[-Infinity]", "-Infinity is not JSON; expected null where a number is missing"),
        (b'{"a": "\xff"}', "expected UTF-8, byte 7 is not"),
        (b"\xef\xbb\xbf{}", "expected JSON without a byte order mark"),
        (b'["\\ud800"]', "expected whole characters, got a lone surrogate"),
        (b'["\\ud800 and more text"]', "expected whole characters, got a lone surrogate"),
        (b'["\\udc00\\ud800"]', "expected whole characters, got a lone surrogate"),
        (b"[" * 100_000, "expected JSON nested at most 20 deep"),
        (b"[1, 2", "expected JSON: Expecting"),
        (b"9" * 5_000, "expected JSON: Exceeds the limit"),
    ],
)
def test_decode_json_says_what_is_wrong(body, detail):
    with pytest.raises(RequestError) as caught:
        decode_json(body)
    assert caught.value.status == 400
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_decode_json_takes_twenty_levels_and_no_more(opening, closing):
    decode_json((opening * DEPTH + "1" + closing * DEPTH).encode())
    with pytest.raises(RequestError, match="nested at most 20 deep"):
        decode_json((opening * (DEPTH + 1) + "1" + closing * (DEPTH + 1)).encode())


def test_decode_json_takes_brackets_and_colons_in_texts():
    text = json.dumps({"series_id": "[[[{{{:" * 10, "history": []})
    assert decode_json(text.encode()) == json.loads(text)
