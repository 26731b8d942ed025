"""Operations reports: what happened in a day, week or month, for who reads it without asking anything.

What comes in is a function that asks the catalogue, one that reconciles, and a period; what goes out is a Report, and
that as HTML, XLSX, CSV and PDF in Chinese or English. `spans.py` says which days are meant, `plan.py` what is asked,
`making.py` asks it; `words.py` and `spelling.py` say it; `paper.py`, `workbook.py`, `tables.py` and `pdf.py` write it.
Nothing here reads a store or sends anything.
"""
