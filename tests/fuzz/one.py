"""One property under atheris. Run: python -m tests.fuzz.one PROPERTY [options of libFuzzer] [CORPUS]."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["collector.tap", "collector.fields", "collector.ledger"]):
    from tests.fuzz.properties import PROPERTIES

import structlog

if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, PROPERTIES[name])
    atheris.Fuzz()
