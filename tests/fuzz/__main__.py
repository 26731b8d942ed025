"""`python -m tests.fuzz [SECONDS] [PROPERTY…]`: look for bytes that break a property, guided by what they reach.

Needs atheris. Each property runs in a process of its own, from recorded answers on; what breaks one is kept under
.cache/fuzz/ and printed, and makes the exit code 1. At the end each line says how many inputs were tried.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT
from tests.fuzz.seeds import WORDS, seeds

KEPT = ROOT / ".cache" / "fuzz"


def fuzz(name: str, seconds: int) -> bool:
    """Try inputs on a property for so long; whether it held."""
    corpus, words = KEPT / name, KEPT / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(seeds(name)):
        (corpus / f"seed-{place}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, *limits, f"-dict={words}", "-print_final_stats=1"]
    ended = subprocess.run(
        [*command, f"-artifact_prefix={KEPT}/{name}-", str(corpus)], cwd=ROOT, capture_output=True, text=True
    )
    tried = re.search(r"number_of_executed_units: (\d+)", ended.stderr)
    print(f"{name}: {'held' if ended.returncode == 0 else 'BROKEN'}, {tried[1] if tried else '?'} inputs", flush=True)
    if ended.returncode:
        print(ended.stdout[-3000:], ended.stderr[-3000:], sep="\n")
    return ended.returncode == 0


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


def main(seconds: str = "60", *names: str) -> int:
    from tests.fuzz.properties import PROPERTIES

    outcomes = [fuzz(name, int(seconds)) for name in names or PROPERTIES]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
