"""Ids derive from what they name."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.identity import derived_id

parts = st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4)


@given(parts, parts)
def test_the_same_name_has_the_same_id_and_another_name_another(one: list[str], other: list[str]) -> None:
    assert (derived_id("kind", *one) == derived_id("kind", *other)) == (one == other)
    assert uuid.UUID(derived_id("kind", *one)).version == 5


def test_the_id_of_a_name_never_changes() -> None:
    # What was published under it is recognised by it for ever.
    assert derived_id("event", "codebank.payment.approved.v1", "t") == "3ee203a8-f36e-5c8a-9700-ccd132b78c12"


def test_a_part_that_could_be_mistaken_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        derived_id("kind", "a\0b")
