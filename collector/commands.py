"""What each command does: Settings and plain arguments in, plain values out. No terminal here.

A command that needs the store opens it itself, or, when a service holds it, asks that service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from collector import app, demonstration
from collector.app import utc_now
from collector.collect import options_since
from collector.errors import DifyMetricError, SettingsError, StoreBusy, StoreError
from collector.faces import grafana, intake, reference, rest
from collector.ingest import read_file
from collector.measures.query import run
from collector.records import Record, Stored
from collector.running import Running
from collector.settings import Setting, Settings, describe
from collector.store import Store, open_store
