"""A secret does not get out by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest
from pydantic import BaseModel

from functions.domain.secret import Secret


class Form(BaseModel):
    secret: Secret


def test_no_way_of_showing_it_shows_it() -> None:
    secret = Secret("hunter2")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        "".join(map(str, [secret])),
        repr([secret]),
        repr({"a": secret}),
    ]
    shown.append(logging.LogRecord("n", 0, "p", 0, "%s", (secret,), None).getMessage())
    shown += [Form(secret=secret).model_dump_json(), repr(Form(secret=secret)), json.dumps(secret, default=repr)]
    assert all("hunter2" not in text for text in shown)
    assert secret.reveal() == "hunter2"


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(Secret("hunter2"))


def test_equal_secrets_are_equal() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_model_reads_it_from_text() -> None:
    assert Form.model_validate_json('{"secret": "x"}').secret == Secret("x")
