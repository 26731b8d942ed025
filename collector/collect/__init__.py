"""Collecting: one pass after the other over a Dify, each fact put with its watermark, each stream noted as a Pull.

`collector.py` says what is read and in which order, `listings.py` walks lists down to their watermark, `backlog.py`
works out of the store what is still to be asked, `statistics.py` reads Dify's own numbers, `releases.py` notes its
version, `passes.py` follows one stream, `tally.py` counts how it went, `streams.py` says what the streams are called.
"""
