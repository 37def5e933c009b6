"""What pytest leaves out of the doctests: modules whose extra is not there."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("sktime") else ["tsfusion/adapters/sktime.py"]
