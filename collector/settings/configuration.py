"""Command line, environment and TOML file -> Settings.

In come what the command line gave, the environment and perhaps a file's path; out goes Settings that knows who said
what, or one SettingsError with a line for everything wrong: the field, where it was said, what is wanted, what to
write. Command line beats environment beats file beats default. A secret may be given as `<name>_file` too, the path of
a file that holds it (Docker and Kubernetes mount secrets so). Nothing here quotes a secret.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from collector.errors import SettingsError
from collector.settings import FIELDS, NUMBERS, PREFIX, SECRETS, SIGN_IN_FIELDS, Settings, describe, variable
from collector.settings.source import SOURCE_SECRETS

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT_PATH = Path("dify-metric.toml")

TABLES = "dify"
"""The setting whose tables have settings of their own."""

KEYS = frozenset(FIELDS) | {f"{name}_file" for name in SECRETS}
EXAMPLES = {setting.name: setting.example for setting in describe(Settings())}

# Kubernetes tells every container about a Service called dify-metric in variables that look like ours.
_SERVICE_LINK = re.compile(
    r"DIFY_METRIC(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True)
class Given:
    """What someone wrote for a field."""

    value: object
    origin: str  # "environment variable DIFY_METRIC_RETRIES", "dify-metric.toml line 3"
    remedy: str  # what one could write there: "DIFY_METRIC_RETRIES=4"


Layer: TypeAlias = dict[str, Given]


def load_settings(overrides: Mapping[str, object], env: Mapping[str, str], config_path: Path | None = None) -> Settings:
    """The settings in force. `overrides` are the command line's, by field name; None there means not given.

    `config_path` is --config; without it DIFY_METRIC_CONFIG names the file, and else ./dify-metric.toml is read if it
    is there. An empty environment variable counts as not set. Raises SettingsError.
    """
    problems: list[str] = []
    given: Layer = {}
    for layer in (_file_layer(_path(config_path, env), problems), _env_layer(env, problems), _command_layer(overrides)):
        given |= _secrets_read(_known(layer, problems), problems)
    settings = _validated(given, problems)
    if problems or settings is None:
        raise SettingsError("\n".join(problems))
    return settings.told_by({name: one.origin for name, one in given.items()})


def example_file() -> str:
    """A dify-metric.toml that names every setting, each commented out, with its help and its default or an example."""
    lines = [
        "# Settings of dify-metric, each with its default or an example. Environment variables and the command line",
        '# win over this file. A secret may stand in a file of its own: dify_token_file = "/run/secrets/dify_token".',
    ]
    for setting in describe(Settings()):
        lines += ["", f"# {setting.help}", f"#{_toml_example(setting.name)}"]
    return "\n".join(lines) + "\n"


def _path(config_path: Path | None, env: Mapping[str, str]) -> Path | None:
    if config_path or env.get(CONFIG_VARIABLE):
        return config_path or Path(env[CONFIG_VARIABLE])
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def _file_layer(path: Path | None, problems: list[str]) -> Layer:
    if path is None:
        return {}
    try:
        written = path.read_text(encoding="utf-8")
        values = tomllib.loads(written)
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(
            f"{path}: cannot be read ({_reason(fault)}); check the path given by --config or {CONFIG_VARIABLE}"
        )
        return {}
    except tomllib.TOMLDecodeError as fault:
        problems.append(f'{path}: no TOML: {fault}; lines look like retries = 4 or store = "/var/lib/facts.duckdb"')
        return {}
    return {key: Given(value, f"{path}{_line(written, key)}", _toml_example(key)) for key, value in values.items()}


def _line(written: str, key: str) -> str:
    found = re.search(rf"^[ \t]*\[{{0,2}}[\"']?{re.escape(key)}\b", written, re.MULTILINE)
    return f" line {written.count(chr(10), 0, found.start()) + 1}" if found else ""


def _toml_example(key: str) -> str:
    is_bare = key in FIELDS and (key == TABLES or FIELDS[key].annotation in (*NUMBERS, bool))
    example = EXAMPLES.get(key, "")
    return f"{key} = {example}" if is_bare else f'{key} = "{example}"'


def _env_layer(env: Mapping[str, str], problems: list[str]) -> Layer:
    is_in_cluster = "KUBERNETES_SERVICE_HOST" in env
    found: Layer = {}
    for name, value in sorted(env.items()):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE or value == "":
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in KEYS and is_in_cluster and _SERVICE_LINK.fullmatch(name):
            continue
        if key not in KEYS or name != variable(key):
            problems.append(f"no environment variable {name}{_did_you_mean(key, variable)}")
            continue
        found[key] = Given(value, f"environment variable {name}", f"{name}={EXAMPLES.get(key, '')}")
    return found


def _command_layer(overrides: Mapping[str, object]) -> Layer:
    given = {name: value for name, value in overrides.items() if value is not None}
    return {
        name: Given(value, f"command line {_option(name)}", f"{_option(name)} {EXAMPLES.get(name, '')}")
        for name, value in given.items()
    }


def _option(name: str) -> str:
    return f"--{name.removeprefix('tap_').replace('_', '-')}"  # the tap's settings are options of `tap` alone


def _known(layer: Layer, problems: list[str]) -> Layer:
    problems += [
        f"{one.origin}: no setting {key!r}{_did_you_mean(key)}" for key, one in layer.items() if key not in KEYS
    ]
    return {key: one for key, one in layer.items() if key in KEYS}


def _did_you_mean(key: str, spell: Callable[[str], str] = repr) -> str:
    near = get_close_matches(key, sorted(KEYS), 1)
    return f"; did you mean {spell(near[0])}?" if near else "; `dify-metric check` lists all settings"


def _secrets_read(layer: Layer, problems: list[str]) -> Layer:
    """The layer with every `<name>_file` replaced by what its file holds."""
    found = dict(layer)
    for name in SECRETS:
        named = found.pop(f"{name}_file", None)
        if named is None:
            continue
        if name in found:
            problems.append(f"{name}: given by {found[name].origin} and by {named.origin}; keep one")
            continue
        try:
            secret = Path(str(named.value)).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as fault:
            # The path is not quoted: whoever confuses the two puts the secret itself there.
            problems.append(f"{name}_file: the file named by {named.origin} cannot be read ({_reason(fault)})")
            continue
        found[name] = Given(secret, f"file {named.value}, {named.origin}", named.remedy)
    if (tables := found.get(TABLES)) and isinstance(tables.value, list):
        read = [_table_read(table, tables.origin, problems) for table in tables.value]
        found[TABLES] = Given(read, tables.origin, tables.remedy)
    return found


def _table_read(table: object, origin: str, problems: list[str]) -> object:
    """A table of [[dify]], its secrets read from the files that it names."""
    if not isinstance(table, dict):
        return table
    secrets = {f"{name}_file": name for name in SOURCE_SECRETS}
    inner = {secrets.get(key, key): Given(value, origin, "") for key, value in table.items()}
    if len(inner) < len(table):
        problems.append(f"[[{TABLES}]] {table.get('name', '')}: a secret and its _file are both given; keep one")
    for key, name in secrets.items():
        if key in table:
            try:
                secret = Path(str(table[key])).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as fault:
                problems.append(f"[[{TABLES}]] {table.get('name', '')}: {key} cannot be read ({_reason(fault)})")
                secret = "unreadable"  # noqa: S105
            inner[name] = Given(secret, origin, "")
    return {name: one.value for name, one in inner.items()}


def _reason(fault: Exception) -> str:
    return fault.strerror or "no file" if isinstance(fault, OSError) else "no UTF-8 text"


def _validated(given: Layer, problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate({name: one.value for name, one in given.items()})
    except ValidationError as refused:
        problems += [_problem(error, given) for error in refused.errors(include_url=False)]
        return None


def _problem(error: ErrorDetails, given: Layer) -> str:
    if not error["loc"]:  # fields that do not fit together
        signing_in = [f"{name} from {given[name].origin}" for name in (*SIGN_IN_FIELDS, "dify_url") if name in given]
        return _wanted(error) + (f" ({'; '.join(signing_in)})" if signing_in else "")
    name = str(error["loc"][0])
    one = given[name]
    if name == TABLES:
        is_whole = len(error["loc"]) == 2 and error["type"] == "value_error"  # its fields do not fit together
        return (
            f"[[{TABLES}]] {_table_place(error, one)}: {'' if is_whole else 'wanted '}{_wanted(error)}, in {one.origin}"
        )
    got = "something else" if name in SECRETS else _brief(one.value)
    remedy = f"; write for example {one.remedy}" if EXAMPLES[name] else ""
    return f"{name}: wanted {_wanted(error)}, got {got} from {one.origin}{remedy}"


def _table_place(error: ErrorDetails, one: Given) -> str:
    """Which table, by its name or number, and which of its fields. Values stay out: they may be secrets."""
    place = error["loc"][1] if len(error["loc"]) > 1 else None
    table = one.value[place] if isinstance(one.value, list) and isinstance(place, int) else {}
    name = table.get("name") if isinstance(table, dict) else None
    fields = [str(part) for part in error["loc"][2:]]
    named = (
        str(name)
        if isinstance(name, str) and len(name) <= 40
        else f"number {place + 1}"
        if isinstance(place, int)
        else ""
    )
    return " ".join([named, *fields]).strip()


def _wanted(error: ErrorDetails) -> str:
    said = re.sub(r"^(Input should be|Value error,) |, (unable to|got a) .*", "", error["msg"])
    return "some text, not an empty one" if error["type"].endswith("too_short") else said


def _brief(value: object) -> str:
    shown = re.sub(r"//[^/]*@", "//…@", repr(value))  # a URL may carry a password
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
