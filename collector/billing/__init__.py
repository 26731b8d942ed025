"""Metering and money: facts, a price book and who pays become lines, statements and exports.

Everything here is exact: counts are integers, money is Decimal (in SQL and Arrow: DECIMAL), and nothing is divided.
Two currencies are never added. Nothing here opens a store or serves an address.
"""
