"""Numbers as text: a value with its standard error in the last digits, and half the width of a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["finite", "fixed", "half_width", "plain", "plus_minus", "rounded", "signed", "value_of", "with_error"]

_MAX_DECIMALS = 6


def value_of(source: Mapping[str, Any], key: str) -> float | None:
    """Return a number of the JSON object; missing, null and nan are None, "inf" is infinite."""
    value = source.get(key)
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    return None if math.isnan(number) else number


def fixed(value: float, decimals: int, sign: bool) -> str:
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def plain(value: float, sign: bool) -> str:
    """Write about four significant digits, without an error."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 5e-4 or size >= 1e5:
        mantissa, exponent = f"{value:{'+' if sign else ''}.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return fixed(value, max(0, 3 - math.floor(math.log10(max(size, 0.1)))), sign)


def with_error(value: float | None, se: float | None, *, sign: bool = True) -> str:
    """Write a number with its standard error in the last digits; without an error where there is none.

    One digit of the error is shown, two if it starts with 1. "-" is no number, "(<1)" an error below the sixth decimal.

    >>> with_error(-0.03401, 0.00061), with_error(0.0207, 0.00149), with_error(-0.5, None), with_error(None, 0.1)
    ('-.0340(6)', '+.0207(15)', '-.5000', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    if se is None or not math.isfinite(se) or se <= 0 or math.isinf(value):
        return plain(value, sign)
    one, two = f"{se:.0e}".split("e"), f"{se:.1e}".split("e")
    exponent = int(one[1])
    if one[0] == "1" or two[0].startswith("1"):  # also .96, which rounds to 1: then (10), not (1)
        exponent = int((one if one[0] == "1" else two)[1]) - 1
    if exponent < -_MAX_DECIMALS:
        if max(abs(value), se) >= 10.0 ** (3 - _MAX_DECIMALS):
            return f"{fixed(value, _MAX_DECIMALS, sign)}(<1)"
        top = math.floor(math.log10(max(abs(value), se)))
        if top - exponent > 3:
            return f"{value / 10.0**top:{'+' if sign else ''}.3f}(<1)e{top}"
        inner = with_error(value / 10.0**top, se / 10.0**top, sign=sign)
        return f"{inner}e{top}"
    if exponent >= 0:
        unit = 10**exponent
        return f"{round(value / unit) * unit:{'+' if sign else ''}d}({round(se / unit) * unit})"
    digits = round(se * 10.0**-exponent)
    shown = str(digits) if se < 1 else f"{se:.{-exponent}f}"
    return f"{fixed(value, -exponent, sign)}({shown})"


def rounded(value: float, digits: int = 2, sign: bool = False) -> str:
    """Write a number in so many significant digits, without an exponent below a million.

    >>> rounded(0.0312), rounded(314.2), rounded(12345.0), rounded(2.5e7), rounded(-41.0, sign=True)
    ('0.031', '310', '12000', '2.5e+07', '-41')
    """
    text = f"{value:{'+' if sign else ''}.{digits}g}"
    return f"{float(text):{'+' if sign else ''}.0f}" if "e+" in text and abs(value) < 1e6 else text


def signed(value: float, digits: int = 2) -> str:
    """Write a change with its sign in so many significant digits; none is 0, without a sign.

    >>> signed(0.0312), signed(-0.0)
    ('+0.031', '0')
    """
    return rounded(value, digits, sign=True) if value else "0"


def plus_minus(error: float | None, digits: int = 2) -> str:
    """Write an error behind its number; nothing where there is none, or where the numbers do not scatter.

    >>> plus_minus(0.0123), plus_minus(0.0), plus_minus(None)
    (' +- 0.012', '', '')
    """
    return f" +- {rounded(error, digits)}" if error else ""


def half_width(arm: Mapping[str, Any], key: str) -> float | None:
    """Return half of the 95 % interval: Student's t, or normal for a result without units."""
    se, units = value_of(arm, f"{key}_se"), value_of(arm, "units")
    if se is None or not math.isfinite(se):
        return None
    if units is None:
        return 1.959964 * se
    if units < 2:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, units - 1)) * se


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
