"""Long frames to panels and windows, calendar features, scalers, and data to try them on."""

from tsfusion.data.calendar import (
    CalendarFeatures,
    calendar_features,
    default_context_length,
    season_length,
)
from tsfusion.data.datasets import PanelTruth, load_air_passengers, make_panel
from tsfusion.data.parquet import ParquetPanel
from tsfusion.data.readers import read_ett, read_m4, read_nixtla, read_tsf, read_wide
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.splits import PanelSplit, cold_start_split, train_validation_test_split
from tsfusion.data.windowing import Windows, make_windows

__all__ = [
    "CalendarFeatures",
    "PanelSplit",
    "PanelTruth",
    "ParquetPanel",
    "TargetScaler",
    "Windows",
    "calendar_features",
    "cold_start_split",
    "default_context_length",
    "load_air_passengers",
    "make_panel",
    "make_windows",
    "read_ett",
    "read_m4",
    "read_nixtla",
    "read_tsf",
    "read_wide",
    "season_length",
    "train_validation_test_split",
]
