"""The statistics that people ask for by name, each a resource of its own under /api/v1: what comes in is the catalogue,
what goes out are routes. Every one is a row of `table.py`; there is no number here that `/api/v1/query` does not give.
"""
