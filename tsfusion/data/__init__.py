"""Long frames to panels and windows, calendar features, and data to try them on."""

from tsfusion.data.calendar import (
    CalendarFeatures,
    calendar_features,
    default_context_length,
    season_length,
)
from tsfusion.data.datasets import PanelTruth, load_air_passengers, make_panel

__all__ = [
    "CalendarFeatures",
    "PanelTruth",
    "calendar_features",
    "default_context_length",
    "load_air_passengers",
    "make_panel",
    "season_length",
]
