"""Reads the manifests that a cluster gets, and refuses what local/ does not understand.

Each document becomes a model of local/kinds.py: an unknown kind, an unknown field, a wrong type or a duplicate key is a
ManifestError that names the file and the line. What a document refers to is checked by local/references.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from local.kinds import KINDS, Resource

LIST_FILES: Final = frozenset({"kustomization.yaml"})
"""Files that only kustomize reads."""


class ManifestError(Exception):
    """A manifest is wrong. The message begins with file:line."""


@dataclass(frozen=True)
class Document:
    """One resource and where it was read."""

    path: Path
    node: yaml.Node
    resource: Resource

    def place(self, *location: str | int) -> str:
        """file:line of the value at this location, or of the nearest one around it."""
        return f"{self.path}:{_line(self.node, location)}"


def read_folders(folders: list[Path]) -> list[Document]:
    """Every document in the folders' YAML files, in the order of their names. Raises ManifestError."""
    documents = []
    for folder in folders:
        if not folder.is_dir():
            raise ManifestError(f"{folder}: there is no such folder")
        for path in sorted(folder.glob("*.yaml")):
            if path.name not in LIST_FILES:
                documents += list(read_file(path))
    return documents


def read_file(path: Path) -> Iterator[Document]:
    """The documents of one file. Raises ManifestError."""
    try:
        nodes = list(yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{path}:{line}: {error.problem}") from None
    for node in nodes:
        if node is not None:
            yield _document(path, node)


def _document(path: Path, node: yaml.Node) -> Document:
    _refuse_duplicates(path, node)
    loader = yaml.SafeLoader("")
    content = loader.construct_document(node)
    if not isinstance(content, dict) or not {"apiVersion", "kind"} <= content.keys():
        raise ManifestError(f"{path}:{_line(node, ())}: not a resource: apiVersion and kind are missing")
    kind = (str(content["apiVersion"]), str(content["kind"]))
    model = KINDS.get(kind)
    if model is None:
        raise ManifestError(f"{path}:{_line(node, ('kind',))}: the kind {kind[1]} of {kind[0]} is not understood here")
    try:
        return Document(path, node, model.model_validate(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = "this field is not understood here" if first["type"] == "extra_forbidden" else first["msg"]
        raise ManifestError(f"{path}:{_line(node, first['loc'])}: {kind[1]}: {field}: {message}") from None


def _refuse_duplicates(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ManifestError(f"{path}:{key.start_mark.line + 1}: the key {key.value} is there twice")
            seen.add(key.value)
            _refuse_duplicates(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(path, value)


def _line(node: yaml.Node, location: tuple[str | int, ...]) -> int:
    line: int = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    node, line = value, key.start_mark.line + 1
                    break
    return line
