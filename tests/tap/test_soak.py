"""A hundred streams at a time that come and go, through a real tap before a collector that is killed again and again:
the short form of `make bench ONLY=tap_soak`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.benchmarks.tap_soak import Soaked, soak
from tests.servers.churn import Churn, tokens


def test_what_was_told_to_the_end_is_told_once(tmp_path: Path):
    soaked = asyncio.run(
        soak(100, 4, tmp_path, seed=3, pause_seconds=0.02, up_seconds=(0.3, 0.6), down_seconds=(0.1, 0.3))
    )

    assert soaked.faults() == []
    assert soaked.outages
    assert len(soaked.churn.sent) > 100
    assert set(soaked.churn.ends) == {"whole", "left", "broken"}


def test_what_should_not_be_is_seen():
    churn = Churn(seed=1)
    churn.sent, churn.asked, churn.garbled, churn._number = {1, 2, 3}, {1, 2, 3}, [3], 3
    calls = [
        {"id": f"n{number}", "input_tokens": tokens(number)[0], "output_tokens": spent}
        for number, spent in ((1, tokens(1)[1]), (2, 0), (2, 0))
    ]
    ended = [{"id": f"m{number}", "status": "succeeded"} for number in (1, 2, 7)]

    assert Soaked(churn, {"model_call": calls, "message": ended, "request": [{}, {}]}, 0).faults() == [
        *("call n2 told 2 times", "stream 3 lost", "stream 7 ended, and did not", "tokens of 2: (3, 0)"),
        *("tokens of 3: None", "bytes of 3 are not those sent", "2 requests told"),
    ]
