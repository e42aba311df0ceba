"""What the pages say: each message in each language, each one used, each module reachable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frontends.serve import FRONTENDS, ROOT

LANGUAGES = ("en", "pt-BR")
MESSAGE = re.compile(r"^    (\w+):\s+(\{[^\n]*\}|\{\n(?:      [^\n]*\n)+    \}|\"[^\n]*\"),$", re.MULTILINE)
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def messages(path: Path) -> dict[str, dict[str, str]]:
    """The messages of a messages.js, by language and key, as they are written there."""
    text = path.read_text()
    english, portuguese = text.split('  "pt-BR": {')
    found = {"en": dict(MESSAGE.findall(english)), "pt-BR": dict(MESSAGE.findall(portuguese))}
    assert sum(map(len, found.values())) == len(re.findall(r"^    \w+:", text, re.MULTILINE))
    return found


def modules(*folders: str) -> dict[Path, str]:
    return {path: path.read_text() for folder in folders for path in (ROOT / folder).glob("*.js")}


@pytest.mark.parametrize("folder", ["shared", *FRONTENDS])
def test_each_message_is_in_each_language_with_the_same_values(folder: str) -> None:
    spoken = messages(ROOT / folder / "messages.js")
    assert spoken["en"].keys() == spoken["pt-BR"].keys()
    for key, english in spoken["en"].items():
        portuguese = spoken["pt-BR"][key]
        assert set(PLACEHOLDER.findall(english)) == set(PLACEHOLDER.findall(portuguese)), key
        assert english.startswith("{") == portuguese.startswith("{"), key
        assert len(portuguese) > 2, key


@pytest.mark.parametrize("name", list(FRONTENDS))
def test_each_message_that_is_said_exists(name: str) -> None:
    known = {key for folder in ("shared", name) for key in messages(ROOT / folder / "messages.js")["en"]}
    for path, source in modules("shared", name).items():
        for key in re.findall(r'\b(?:say|t)\(\s*"(\w+)"', source):
            assert key in known, f"{path.name} says {key}"


@pytest.mark.parametrize("folder", ["shared", *FRONTENDS])
def test_each_message_is_said_somewhere(folder: str) -> None:
    # Some keys are put together from a prefix and a status or a theme.
    built = ("theme_", "order_", "offline_since", "unreachable_since")
    sources = "\n".join(source for path, source in modules("shared", *FRONTENDS).items() if path.name != "messages.js")
    spoken = messages(ROOT / folder / "messages.js")["en"]
    # What the services call a mistake (DESIGN §8) comes by the wire.
    by_wire = {"invalid_name", "invalid_cvv", "invalid_expiry", "too_many", "out_of_range", "mixed_currencies"}
    unsaid = [key for key in spoken if f'"{key}"' not in sources and not key.startswith(built) and key not in by_wire]
    assert unsaid == []


@pytest.mark.parametrize("name", list(FRONTENDS))
def test_each_module_is_imported_from_the_one_that_the_page_starts(name: str) -> None:
    waiting, reached = [ROOT / name / "app.js"], set()
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        found = re.findall(r'^(?:import|\} from)\s*(?:.*?\bfrom )?"(\.[^"]+)";', path.read_text(), re.MULTILINE)
        waiting += [(path.parent / target).resolve() for target in found]
    assert set(modules(name)) <= reached
    assert {path.name for path in reached} >= {"i18n.js", "http.js", "dom.js"}
