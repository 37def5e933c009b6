"""The warnings and errors of the package, each with a category of its own."""

__all__ = [
    "BeyondHorizonWarning",
    "CalibrationWarning",
    "DataWarning",
    "ExplanationWarning",
    "FileFormatError",
    "SkillWarning",
    "TsfusionWarning",
]


class TsfusionWarning(UserWarning):
    """The root of every warning that tsfusion gives."""


class BeyondHorizonWarning(TsfusionWarning):
    """A forecast was rolled forward past the horizon that the model was trained for."""


class CalibrationWarning(TsfusionWarning):
    """Calibrated quantiles cover less than they say; the message says why and by how much."""


class DataWarning(TsfusionWarning):
    """Something about the data was mended or left out; the message says what and how much."""


class SkillWarning(TsfusionWarning):
    """A naive forecast was as good as the network; the message says which and by how much."""


class ExplanationWarning(TsfusionWarning):
    """An explanation does not carry what it seems to say; the message says why."""


class FileFormatError(ValueError):
    """A file is damaged, or not one that `save` writes; the message says what was expected."""
