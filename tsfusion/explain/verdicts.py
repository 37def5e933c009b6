"""What the checks by removal say, of one share of the values or of several at once."""

from __future__ import annotations

import pandas as pd

__all__ = ["in_short", "of_share"]

# The sentence, and what it calls a share of the values, and any.
_SAID = {
    "comprehensiveness": (
        "Removing {} that are attributed most moves the forecast {} as far as removing random "
        "ones.",
        "the {:.0%} of the values",
        "the values",
    ),
    "sufficiency": (
        "Random values kept in place of {} that are attributed most leave the forecast {} as far "
        "from what it was.",
        "the {:.0%}",
        "those",
    ),
}


def of_share(check: str, share: float, value: float) -> str:
    """Return the verdict of a check at one share."""
    sentence, some, _ = _SAID[check]
    return sentence.format(some.format(share), f"{value:.1f}x")


def in_short(trust: pd.DataFrame) -> list[str]:
    """Return the verdicts of a table of trust, those of one check at several shares as one."""
    lines = []
    kind = trust["check"].str.split(" ").str[0]
    for check in kind.unique():
        rows = trust[kind == check]
        if check not in _SAID:
            lines += rows["verdict"].tolist()
            continue
        shares = rows["check"].str.removeprefix(f"{check} ").str.replace(" ", "")
        *others, last = [f"{value:.1f}x ({share})" for value, share in zip(rows["value"], shares)]
        figures = f"{', '.join(others)} and {last}" if others else last
        sentence, _, values = _SAID[check]
        lines.append(sentence.format(values, figures))
    return lines
