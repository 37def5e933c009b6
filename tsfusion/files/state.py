"""What a pickle or a skops file holds of a fitted forecaster: plain values, no class of pandas.

So such a file does not hang on how a release of pandas lays out an index, and skops, which knows no
pandas, has our class alone to ask about.
"""

from __future__ import annotations

import json
from typing import Any

from tsfusion.files.codec import Decoder, Encoder

__all__ = ["full_state", "plain_state"]

_LEARNED = ("_fitted", "_memory")
_PLAIN = "_learned"


def plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with what was learned as JSON and arrays; as it is where that cannot be."""
    if not set(_LEARNED) <= set(state):
        return state
    encoder = Encoder()
    try:
        text = json.dumps({name: encoder.encode(state[name], name[1:]) for name in _LEARNED})
    except (TypeError, ValueError):
        # Labels of a type of the user's own: pickle can hold them.
        return state
    functions = {one.name: one.function for one in state["_fitted"].calendar.functions}
    kept = {name: value for name, value in state.items() if name not in _LEARNED}
    return {**kept, _PLAIN: {"json": text, "arrays": encoder.arrays, "functions": functions}}


def full_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state that `plain_state` was given."""
    if _PLAIN not in state:
        return state
    plain = state[_PLAIN]
    decoder = Decoder(plain["arrays"], plain["functions"])
    learned = {
        name: decoder.decode(data, name[1:]) for name, data in json.loads(plain["json"]).items()
    }
    return {**{name: value for name, value in state.items() if name != _PLAIN}, **learned}
