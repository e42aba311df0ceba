"""Secrets on one machine: a folder each, a file a key, readable by their owner alone.

On a cluster the operator makes them. Here local/secrets.yaml says how each is made on the first start: as the output of
a command of the project, or as the address of a database.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field

from local.console import Console
from local.engines.postgresql import PostgreSQL
from local.kinds import Name, Strict
from local.process import ROOT, container_command

RECIPES_FILE: Final = Path(__file__).with_name("secrets.yaml")


class SecretFailed(Exception):
    """The command that makes a secret has failed."""


class CommandRecipe(Strict):
    """Made once, as what a command prints. env gives it the files of secrets made before, as secret/key."""

    kind: Literal["command"]
    secret: Name
    key: str
    command: list[str]
    env: dict[str, str] = {}


class DatabaseRecipe(Strict):
    """The address of an owner's database: the operator's own where the variable is set, else the embedded one's."""

    kind: Literal["database"]
    secret: Name
    key: str
    database: str
    variable: str


Recipe = Annotated[CommandRecipe | DatabaseRecipe, Field(discriminator="kind")]


class Recipes(Strict):
    """local/secrets.yaml"""

    recipes: list[Recipe]


def read_recipes(path: Path = RECIPES_FILE) -> list[Recipe]:
    """The recipes, in the order in which they are made."""
    return Recipes.model_validate(yaml.safe_load(path.read_text())).recipes


class SecretStore:
    """The secrets under the data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str, key: str = "") -> Path:
        """The file of one key, or the folder of all."""
        return self._folder / name / key

    def read(self, name: str, key: str) -> str:
        """The value of one key."""
        return self.path(name, key).read_text()

    def write(self, name: str, key: str, value: str) -> None:
        """Sets one key; a reader sees the old value or the new one, never a part."""
        path = self.path(name, key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{key}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(value)
        draft.replace(path)

    async def make(
        self, recipes: list[Recipe], postgresql: PostgreSQL, environment: Mapping[str, str], console: Console
    ) -> None:
        """Makes what is missing, and renews the addresses of databases. Raises SecretFailed."""
        for recipe in recipes:
            if isinstance(recipe, DatabaseRecipe):
                self.write(recipe.secret, recipe.key, await self._database_url(recipe, postgresql))
            elif not self.path(recipe.secret, recipe.key).exists():
                self.write(recipe.secret, recipe.key, await self._output(recipe, environment))
                console.say(f"made the secret {recipe.secret}")

    async def _database_url(self, recipe: DatabaseRecipe, postgresql: PostgreSQL) -> str:
        if given := os.environ.get(recipe.variable):
            return given
        if not self.path(recipe.secret, "password").exists():
            self.write(recipe.secret, "password", secrets.token_urlsafe(24))
        return await postgresql.ensure_database(recipe.database, self.read(recipe.secret, "password"))

    async def _output(self, recipe: CommandRecipe, environment: Mapping[str, str]) -> str:
        """What the command prints. It is the secret, so it goes to no log."""
        files = {name: str(self._folder / value) for name, value in recipe.env.items()}
        process = await asyncio.create_subprocess_exec(
            *container_command(recipe.command),
            cwd=ROOT,
            env={**environment, **files},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode:
            reason = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise SecretFailed(f"the secret {recipe.secret} could not be made: {reason[0]}")
        return output.decode().strip()
