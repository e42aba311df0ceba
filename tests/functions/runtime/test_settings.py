"""A missing or wrong setting is named."""

from __future__ import annotations

import pytest

from functions.runtime.database import asyncpg_url
from functions.runtime.settings import SettingError, integer, text


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K_SINK", raising=False)
    with pytest.raises(SettingError, match="K_SINK is not set"):
        text("K_SINK")
    assert text("K_SINK", "default") == "default"


@pytest.mark.parametrize("value", ["0", "101", "x", "1.5"])
def test_a_number_out_of_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("POOL", value)
    with pytest.raises(SettingError, match=f"POOL is '?{value}'?, not"):
        integer("POOL", 5, minimum=1, maximum=100)


def test_a_database_address_is_given_its_driver() -> None:
    assert asyncpg_url("postgresql://u:p@h/d") == "postgresql+asyncpg://u:p@h/d"
    with pytest.raises(SettingError, match="not mysql"):
        asyncpg_url("mysql://h/d")
