"""A fitted forecaster in one file of JSON and plain arrays; relies on no pickle anywhere.

- ``archive``: one zip, written whole or not at all, and read without trust.
- ``codec``: Python, NumPy and pandas values as JSON and arrays, by a fixed table of types.
- ``checks``: whether what was read fits together, and the declared network the weights.
- ``forecaster``: what a `FusionForecaster` consists of.
"""

from tsfusion.files.archive import FORMAT_VERSION
from tsfusion.files.forecaster import describe, load_forecaster, save_forecaster

__all__ = ["FORMAT_VERSION", "describe", "load_forecaster", "save_forecaster"]
