"""Accept-Encoding is read as RFC 9110 §12.5.3 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontends.negotiation import PREFERENCE, chosen_coding


@pytest.mark.parametrize(
    ("accept_encoding", "chosen"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP;Q=0.5", "gzip"),
        ("br;q=0.2, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br ; q=1.000 , gzip;q=0.999", "br"),
        ("*", "br"),
        ("*;q=0.1, gzip;q=0.5", "gzip"),
        ("br;q=0, *", "gzip"),
        ("", "identity"),
        ("identity", "identity"),
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("gzip;q=0.001", "gzip"),
        ("deflate, zstd", "identity"),
        ("gzip;q=2, br;q=-1", "identity"),
        ("gzip;q=nonsense", "identity"),
        (";;,, ,", "identity"),
        # Nothing that is wanted can be had: an answer in the clear is better than none.
        ("identity;q=0", "identity"),
        ("*;q=0", "identity"),
        ("br;q=0, gzip;q=0, identity;q=0", "identity"),
    ],
)
def test_the_coding_that_is_wanted_most_is_chosen(accept_encoding: str, chosen: str) -> None:
    assert chosen_coding(accept_encoding, PREFERENCE) == chosen


def test_only_what_is_ready_is_chosen() -> None:
    assert chosen_coding("br, gzip", ("identity", "gzip")) == "gzip"
    assert chosen_coding("br, gzip", ("identity",)) == "identity"


@given(st.text())
def test_any_header_is_answered(accept_encoding: str) -> None:
    assert chosen_coding(accept_encoding, PREFERENCE) in PREFERENCE
