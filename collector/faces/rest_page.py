"""The reference page at /docs: the OpenAPI document and the catalogue in, one HTML page out.

It needs no script and asks nothing of any other server, so it works where there is no internet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from collector.measures.catalogue import Catalogue
from collector.period import Grain

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884 }
code { font: .9em ui-monospace, monospace } form > * { margin: 0 .5rem .5rem 0 }
h2 { margin-top: 2.5rem } .quiet { opacity: .7 }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} {version}</title><style>{style}</style></head><body>
<h1>{title} <span class="quiet">{version}</span></h1><p>{description}</p>
<p>Machine-readable: <a href="openapi.json">openapi.json</a>, <a href="api/v1/measures">api/v1/measures</a></p>
<h2>Try it · 试一试</h2>{form}
<h2>Requests · 接口</h2>{requests}
<h2>Measures · 指标</h2>{measures}
<h2>Dimensions · 维度</h2>{dimensions}
</body></html>"""


def page(openapi: Mapping[str, Any], catalogue: Catalogue) -> str:
    """The whole page."""
    return _PAGE.format(
        title=escape(openapi["info"]["title"]),
        version=escape(openapi["info"]["version"]),
        description=escape(openapi["info"]["description"]),
        style=_STYLE,
        form=_form(catalogue),
        requests="".join(
            _request(method, path, operation)
            for path, operations in openapi["paths"].items()
            for method, operation in operations.items()
        ),
        measures=_table(
            ("Name", "Title", "标题", "Unit", "Meaning", "By"),
            (
                (_code(each.name), each.title, each.title_zh, each.unit, each.help, _codes(d.name for d in each.by))
                for each in catalogue
            ),
        ),
        dimensions=_table(
            ("Name", "Title", "标题", "Meaning"),
            ((_code(each.name), each.title, each.title_zh, each.help) for each in catalogue.dimensions),
        ),
    )


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _form(catalogue: Catalogue) -> str:
    return (
        '<form action="api/v1/query">'
        f"{_select('measure', (each.name for each in catalogue))} by "
        f"{_select('by', ('', *(each.name for each in catalogue.dimensions)))} every {_select('grain', Grain)} since "
        '<input name="since" value="7d" size="12" aria-label="since"> in '
        '<input name="tz" value="UTC" size="14" aria-label="time zone"> <button>Ask</button></form>'
    )


def _select(name: str, choices: Iterable[str]) -> str:
    options = "".join(f"<option>{escape(choice)}</option>" for choice in choices)
    return f'<select name="{name}" aria-label="{name}">{options}</select>'


def _request(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        (_code(each["name"]), "required" if each.get("required") else "", each.get("description", ""))
        for each in operation.get("parameters", ())
    ]
    table = _table(("Parameter", "", "Meaning"), parameters) if parameters else ""
    told = f"<p>{escape(': '.join(filter(None, (operation['summary'], operation.get('description')))))}</p>"
    return f"<h3><code>{method.upper()} {escape(path)}</code></h3>{told}{table}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _escaped(cell: str) -> str:
    return cell if isinstance(cell, _Html) else escape(cell)


def _code(name: str) -> _Html:
    return _Html(f"<code>{escape(name)}</code>")


def _codes(names: Iterable[str]) -> _Html:
    return _Html(" ".join(map(_code, names)))
