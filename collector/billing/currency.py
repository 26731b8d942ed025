"""Currencies: which codes there are, how many digits they are paid in, and rounding to these.

What comes in are exact amounts; what goes out is what can be paid. Only here is anything rounded.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

_CODES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC
CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR
ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE
SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER
ZAR ZMW ZWG
"""

CURRENCIES = frozenset(_CODES.split())
"""The currencies of ISO 4217 that people pay in."""

_WHOLE = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

EXACT = Context(prec=60)
"""More digits than any sum of amounts has, so that nothing is rounded on the way."""


def payable(amount: Decimal, currency: str) -> Decimal:
    """An exact amount in the digits its currency is paid in; halves go away from zero, as merchants round."""
    digits = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    step = Decimal(1).scaleb(-digits)
    return amount.quantize(step, rounding=ROUND_HALF_UP, context=EXACT)
