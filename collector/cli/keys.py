"""`key`: who may ask what."""

from __future__ import annotations

from typing import Annotated

import typer

from collector.cli.options import Config, Json, Listen, StorePath, Text, settings_of

part = typer.Typer(name="key", help="Keys: who may ask what.", no_args_is_help=True)


@part.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whose the key is, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, ingest, metrics or admin; again for more.")] = ["read"],  # noqa: B006
    app: Annotated[list[str], typer.Option(help="It sees only this app, by id; again for more.")] = [],  # noqa: B006
    workspace: Annotated[list[str], typer.Option(help="It sees only this workspace, by id; again for more.")] = [],  # noqa: B006
    origin: Annotated[list[str], typer.Option(help="It sees only this Dify, by our name; again for more.")] = [],  # noqa: B006
    expires: Annotated[Text, typer.Option(help="90d, 2027-01-31, an instant; default: never.")] = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print its token: it is told this once, and kept nowhere."""
    from collector import keys, terminal

    wish = {"name": name, "scopes": scope, "apps": app, "workspaces": workspace, "origins": origin}
    made = keys.create(settings_of(config, store=store, listen=listen), wish, expires)
    if as_json:
        terminal.show_json(made)
    else:
        terminal.show_token(made)


@part.command("list")
def list_keys(config: Config = None, store: StorePath = None, listen: Listen = None, as_json: Json = False) -> None:
    """List keys: what they may do and see, and when they were last used."""
    from collector import keys, terminal

    found = keys.listed(settings_of(config, store=store, listen=listen))
    terminal.show_json({"keys": found}) if as_json else terminal.show_keys(found)


@part.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `dify-metric key list` shows it.")],
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Let a key open nothing any more, from now on."""
    from collector import keys, terminal

    revoked = keys.revoke(settings_of(config, store=store, listen=listen), key_id)
    terminal.show_json(revoked) if as_json else terminal.say(f"key {revoked['id']} ({revoked['name']}) is revoked")
