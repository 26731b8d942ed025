"""A page as PDF, by WeasyPrint, which is an extra: what comes in is HTML, what goes out are bytes.

Loads nothing from anywhere. Fonts are those of the machine; for Chinese it needs one that has it.
"""

from __future__ import annotations

import logging
from typing import Any

from collector.errors import SettingsError


def pdf(html: str) -> bytes:
    """The whole file. Raises SettingsError where WeasyPrint, or what it needs, is missing."""
    try:
        import weasyprint
    except ImportError:
        raise SettingsError("PDF needs WeasyPrint: pip install dify-metric[pdf], or ask for html") from None
    except OSError as error:
        raise SettingsError(
            f"PDF needs Pango, which is missing ({str(error).partition(':')[0]}): on Debian and Ubuntu "
            "apt-get install libpango-1.0-0 libpangoft2-1.0-0 fonts-wqy-zenhei, or ask for html"
        ) from None
    for chatty in ("weasyprint", "fontTools"):  # what it thinks of a style sheet is no news for who runs a service
        logging.getLogger(chatty).setLevel(logging.ERROR)
    found: bytes = weasyprint.HTML(string=html, url_fetcher=_nothing).write_pdf()
    return found


def _nothing(url: str, *_: Any, **__: Any) -> Any:
    raise ValueError(f"a report loads nothing: {url[:80]}")
