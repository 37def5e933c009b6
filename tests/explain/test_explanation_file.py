"""Explanations in a file: what is loaded is what was saved, and anything else is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.report.made import made_explanation
from tsfusion.exceptions import FileFormatError
from tsfusion.explain import Explanation
from tsfusion.explain.explanation import TABLES
from tsfusion.files.archive import read_archive, write_archive


@pytest.fixture(scope="module")
def explanation():
    return made_explanation(variables=["price", 3])


def test_what_is_loaded_is_what_was_saved(explanation, tmp_path):
    path = tmp_path / "found.tsx"
    explanation.save(path)
    found = Explanation.load(path)
    for name in TABLES:
        if name == "lag_sensitivity":
            continue
        pd.testing.assert_frame_equal(found.to_frame(name), explanation.to_frame(name))
    assert found.summary() == explanation.summary()
    assert found.branches[0].scores.dtype == explanation.branches[0].scores.dtype
    # As it was: nothing of it is lost where it is saved again.
    found.save(tmp_path / "again.tsx")
    assert (tmp_path / "again.tsx").read_bytes() == path.read_bytes()


def test_calibrated_quantiles_are_kept_and_may_be_absent(explanation, tmp_path):
    path = tmp_path / "found.tsx"
    moved = dataclasses.replace(explanation, calibrated=explanation.quantiles + 1)
    moved.save(path)
    np.testing.assert_array_equal(Explanation.load(path).calibrated, moved.calibrated)
    # Files from before there were any.
    manifest, arrays = read_archive(path)
    del manifest["values"]["calibrated"]
    write_archive(path, {name: manifest[name] for name in ("kind", "values")}, arrays)
    assert Explanation.load(path).calibrated is None
    dataclasses.replace(moved, calibrated=moved.calibrated[1:]).save(path)
    with pytest.raises(FileFormatError, match="calibrated"):
        Explanation.load(path)


def test_of_several_columns_and_with_periods(explanation, tmp_path):
    labels = pd.MultiIndex.from_tuples([(name, 1) for name in explanation.series_labels])
    several = dataclasses.replace(
        explanation, series_names=("store", "item"), series_labels=labels,
        cutoffs=explanation.cutoffs.to_period("D"),
        source_times=explanation.source_times.to_period("D"),
    )  # fmt: skip
    several.save(tmp_path / "found.tsx")
    found = Explanation.load(tmp_path / "found.tsx")
    pd.testing.assert_frame_equal(found.attention, several.attention)
    pd.testing.assert_frame_equal(found.attribution, several.attribution)


def test_a_save_that_fails_leaves_the_file_as_it_was(explanation, tmp_path):
    path = tmp_path / "found.tsx"
    explanation.save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="expected a plain value"):
        dataclasses.replace(explanation, target=object()).save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["found.tsx"]


def test_other_files_are_refused(explanation, tmp_path):
    path = tmp_path / "found.tsx"
    explanation.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        Explanation.load(tmp_path / "damaged")
    write_archive(tmp_path / "model", {"kind": "forecaster"}, {})
    with pytest.raises(FileFormatError, match="expected an explanation, received a file of kind"):
        Explanation.load(tmp_path / "model")
    write_archive(tmp_path / "empty", {"kind": "explanation", "values": {}}, {})
    with pytest.raises(FileFormatError, match="expected the fields"):
        Explanation.load(tmp_path / "empty")


@pytest.mark.parametrize(
    "change",
    [
        {"step": 1}, {"window": 100}, {"branches": ()}, {"median": 3}, {"source_times": -1},
        {"roles": None},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_parts_that_do_not_fit_together_are_refused(explanation, tmp_path, change):
    ((name, to),) = change.items()
    value = getattr(explanation, name)
    if isinstance(to, int):
        to = value + to if name == "window" else value[:to]
    dataclasses.replace(explanation, **{name: to}).save(tmp_path / "odd")
    with pytest.raises(FileFormatError, match="parts that fit together"):
        Explanation.load(tmp_path / "odd")
