"""What pytest leaves out of the doctests: modules whose extra is not there."""

import importlib.util

import pytest

collect_ignore = [] if importlib.util.find_spec("sktime") else ["tsfusion/adapters/sktime.py"]


@pytest.fixture(autouse=True)
def _examples_step_by_step(request):
    """Run examples without tracing, as most tests: it takes longer than their tiny fits."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    from tests.conftest import eagerly

    with eagerly(True):
        yield
