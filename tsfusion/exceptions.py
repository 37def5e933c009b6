"""The warnings of the package, each with a category of its own so that it can be filtered."""

__all__ = ["BeyondHorizonWarning", "DataWarning", "TsfusionWarning"]


class TsfusionWarning(UserWarning):
    """The root of every warning that tsfusion gives."""


class BeyondHorizonWarning(TsfusionWarning):
    """A forecast was rolled forward past the horizon that the model was trained for."""


class DataWarning(TsfusionWarning):
    """Something about the data was mended or left out; the message says what and how much."""
