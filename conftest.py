"""What pytest leaves out of the doctests: modules whose extra is not there."""

import importlib.util

import pytest

collect_ignore = [] if importlib.util.find_spec("sktime") else ["tsfusion/adapters/sktime.py"]


@pytest.fixture(autouse=True)
def _examples_step_by_step(request):
    """Fit those of docstrings in as few steps as have all windows, and trace nothing for them."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    from tests.conftest import eagerly

    with pytest.MonkeyPatch.context() as patch, eagerly(True):
        patch.setattr("tsfusion.training.fit._LEAST_STEPS", 1)
        yield
