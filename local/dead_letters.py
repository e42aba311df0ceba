"""./task dead-letters: list, show, replay and discard what could not be delivered, as the laptop's operator."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

import httpx

from local.folder import Folder

ANSWER_SECONDS_MAX: Final = 60.0
REASON_CHARACTERS_SHOWN: Final = 60


class Refused(Exception):
    """The API did not do it; the message is its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action")
    listing = actions.add_parser("list", help="what is open (the default)")
    for each in (parser, listing):
        each.add_argument("--state", choices=["open", "replayed", "discarded"], default="open")
        each.add_argument("--step", help="only what this step did not take")
    actions.add_parser("show", help="one, with its event").add_argument("id")
    replay = actions.add_parser("replay", help="give them to the step that did not take them again")
    replay.add_argument("ids", nargs="*")
    replay.add_argument("--step", dest="replay_step", help="the oldest open ones of this step")
    discard = actions.add_parser("discard", help="give one up")
    discard.add_argument("id")
    discard.add_argument("--reason", required=True)


def run(folder: Folder, arguments: argparse.Namespace) -> int:
    """Does it, and says what came of it. Answers 1 where something was not taken again."""
    token = (folder.secrets / "operator-token" / "token").read_text()
    with httpx.Client(
        base_url=folder.read_state().url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_SECONDS_MAX,
        trust_env=False,
    ) as client:
        match arguments.action:
            case "show":
                print(json.dumps(_ask(client, "GET", f"/{arguments.id}"), indent=2, ensure_ascii=False))
            case "replay":
                selection = {"ids": arguments.ids} if arguments.ids else {"step": arguments.replay_step}
                answer = _ask(client, "POST", "/replay", selection)
                print(f"{answer['replayed']} replayed, {len(answer['failed'])} not taken")
                for failed in answer["failed"]:
                    print(f"{failed['id']}  {failed['detail'][:REASON_CHARACTERS_SHOWN]}")
                return 1 if answer["failed"] else 0
            case "discard":
                _ask(client, "POST", f"/{arguments.id}/discard", {"reason": arguments.reason})
                print(f"{arguments.id} is discarded")
            case _:
                _list(client, arguments.state, arguments.step)
    return 0


def _list(client: httpx.Client, state: str, step: str | None) -> None:
    query = f"?state={state}" + (f"&step={step}" if step else "")
    page = _ask(client, "GET", query)
    for letter in page["items"]:
        reason = letter["reason"].splitlines()[0][:REASON_CHARACTERS_SHOWN] if letter["reason"] else ""
        print(
            f"{letter['id']}  {letter['step']:10}  {letter['event']['type']}  {letter['error_code']:>3}  "
            f"x{letter['attempts']}  {letter['first_at']}  {reason}"
        )
    more = " (and more)" if page["next"] else ""
    print(f"{len(page['items'])} {state}{more}")


def _ask(client: httpx.Client, method: str, path: str, body: object = None) -> Any:
    try:
        answer = client.request(method, f"/api/dead-letters{path}", json=body)
    except httpx.HTTPError as error:
        raise Refused(f"the system does not answer: {error}") from error
    if answer.is_error:
        raise Refused(answer.json()["detail"])
    return answer.json()
