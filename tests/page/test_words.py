"""Every word of the page is there in both languages, and every word there is used."""

from __future__ import annotations

import json
import re

from collector.faces.page import FOLDER
from collector.faces.sources import REMEDIES
from collector.failures import ERROR_CLASSES
from collector.reconcile import Kind

SCRIPTS = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in sorted((FOLDER / "js").rglob("*.js"))}
_PAIR = re.compile(r'^  (\w+): \[\s*("(?:[^"\\]|\\.)*"),\s*("(?:[^"\\]|\\.)*"),?\s*\],$', re.M)
WORDS = {name: (json.loads(one), json.loads(other)) for name, one, other in _PAIR.findall(SCRIPTS["js/words.js"])}
SAME = {"lang_en", "lang_zh", "collector_is", "theirs", "period_is", "median"}
"""Names and the like: they have no Chinese of their own."""

USES = "".join(text for name, text in SCRIPTS.items() if name != "js/words.js")
NAMED = set(re.findall(r'\bt\("(\w+)"', USES)) | set(re.findall(r'"(\w+)"', USES))
BUILT = set(re.findall(r"`(\w+_)\$\{", USES)) | {"mode_", "user_", "error_", "theme_", "lang_"}
"""Words whose names are put together: view_${name}, and those of choices, of Dify's modes, users and errors."""


def test_nothing_is_lost_between_the_languages():
    assert len(WORDS) == len(re.findall(r"(?m)^  \w+: \[", SCRIPTS["js/words.js"])) > 150


def test_every_word_stands_there_in_both():
    for name, (english, chinese) in WORDS.items():
        assert english.strip(), name
        assert chinese.strip(), name
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), name
        if name not in SAME:
            assert re.search("[一-鿿]", chinese), name
            assert not re.search("[一-鿿]", english.replace("语言", "")), name


def test_every_word_that_is_asked_for_is_there():
    assert set(re.findall(r'\bt\("(\w+)"', USES)) <= set(WORDS)
    closed = {f"kind_{kind}" for kind in Kind} | {f"error_{name}" for name in ERROR_CLASSES}
    closed |= {f"source_{name}" for name in ("up", "starting", "partly", "behind", "down", "refused")}
    assert closed <= set(WORDS)


def test_no_word_is_left_over():
    left = {name for name in WORDS if name not in NAMED and not any(name.startswith(each) for each in BUILT)}
    assert left == set()


def test_texts_stand_nowhere_else():
    quoted = re.findall(r'(?:^|[\s(,])"([A-Z][a-z]+ [a-z][^"]*)"', USES)
    assert quoted == []


def test_what_to_do_is_told_in_both():
    for english, chinese in REMEDIES.values():
        assert english.endswith(".")
        assert chinese.endswith("。")
        assert re.search("[一-鿿]", chinese)
