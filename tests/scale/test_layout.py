"""Files in any order laid out as buckets of whole series: no row lost, none torn off."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tsfusion.cli.main import main
from tsfusion.data import ParquetPanel
from tsfusion.data.manifest import MANIFEST, check_files
from tsfusion.scale import layout as module
from tsfusion.scale import relayout, series_bucket

KEYS = {"series": ["store", "item"], "time": "date"}
ROLES = {"time": "date", "series": ["store", "item"], "target": "sales", "known": ["price"],
         "observed": ["sky"]}  # fmt: skip


def make_frame(n_stores=9, n_items=3, n_steps=40, seed=0):
    rng = np.random.default_rng(seed)
    n = n_stores * n_items
    days = pd.date_range("2024-01-01", periods=n_steps, unit="us")
    frame = pd.DataFrame(
        {
            "date": np.tile(days, n),
            "store": np.repeat([f"s{i}" for i in range(n_stores)], n_items * n_steps),
            "item": np.tile(np.repeat(np.arange(n_items), n_steps), n_stores),
            "sales": rng.normal(size=n * n_steps),
            "price": rng.integers(1, 9, n * n_steps),
            "sky": rng.choice(np.array(["sun", "rain", None], object), n * n_steps),
        }
    )
    return frame[rng.random(len(frame)) < 0.9].sample(frac=1, random_state=seed)


FRAME = make_frame()
IN_ORDER = FRAME.sort_values(["store", "item", "date"], ignore_index=True)


def read(folder):
    """Return the rows of each bucket, each as it stands in its file."""
    files = sorted(folder.glob("bucket-*.parquet"))
    return [pq.read_table(file).to_pandas() for file in files]


def assert_laid_out(folder, frame, n_buckets):
    parts = read(folder)
    bucket = series_bucket(frame, KEYS["series"], n_buckets)
    assert [len(part) for part in parts] == np.bincount(bucket)[np.unique(bucket)].tolist()
    for i, part in zip(np.unique(bucket), parts):
        expected = frame[bucket == i].sort_values(["store", "item", "date"], ignore_index=True)
        part["date"] = pd.to_datetime(part["date"])
        pd.testing.assert_frame_equal(part, expected, check_dtype=False)


def parquet(frame, folder):
    """Files of a few days each, their text in several kinds."""
    days = frame["date"].dt.day % 5
    for day, part in frame.groupby(days):
        part = part.astype({"store": "category"}) if day == 2 else part
        part.to_parquet(folder / f"{day}.parquet", row_group_size=50, index=False)
    return folder


def by_key(frame, folder):
    """A directory for each item, whose column is in no file."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_to_dataset(table, folder, partition_cols=["item"])
    return folder


def csv(frame, folder):
    half = len(frame) // 2
    frame[:half].to_csv(folder / "a.csv", index=False)
    frame[half:].to_csv(folder / "b.csv.gz", index=False)
    return folder


def listed(frame, folder):
    return sorted(parquet(frame, folder).iterdir())


@pytest.mark.parametrize("source", [parquet, by_key, csv, listed])
def test_every_row_is_in_the_bucket_of_its_series(source, tmp_path):
    (tmp_path / "in").mkdir()
    given = source(FRAME, tmp_path / "in")
    manifest = relayout(given, tmp_path / "out", **KEYS, n_buckets=5)
    frame = FRAME
    if source is by_key:
        frame = FRAME[["date", "store", "sales", "price", "sky", "item"]]
    assert_laid_out(tmp_path / "out", frame, 5)
    assert manifest["rows"] == len(FRAME)
    assert json.loads((tmp_path / "out" / MANIFEST).read_text()) == manifest
    assert sum(file["rows"] for file in manifest["files"]) == len(FRAME)
    check_files(tmp_path / "out", digests=True)
    panel = ParquetPanel(tmp_path / "out", **ROLES)
    assert (panel.n_series, panel.n_rows) == (27, len(FRAME))
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_small_blocks_and_a_small_memory_give_the_same(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "in.parquet")
    monkeypatch.setattr(module, "_SAMPLE_ROWS", 1)
    relayout(tmp_path / "in.parquet", tmp_path / "out", **KEYS, n_buckets=4, max_memory="200kB")
    relayout(tmp_path / "in.parquet", tmp_path / "whole", **KEYS, n_buckets=4)
    for one, other in zip(read(tmp_path / "out"), read(tmp_path / "whole"), strict=True):
        pd.testing.assert_frame_equal(one, other)
    relayout(tmp_path / "out", tmp_path / "again", **KEYS, n_buckets=1)
    (all_rows,) = read(tmp_path / "again")
    pd.testing.assert_frame_equal(all_rows, IN_ORDER, check_dtype=False)


def test_the_number_of_buckets_follows_from_rows_or_memory(tmp_path):
    FRAME.to_parquet(tmp_path / "in.parquet")
    FRAME.to_csv(tmp_path / "in.csv", index=False)
    for source in ("in.parquet", "in.csv"):
        options = {**KEYS, "rows_per_bucket": 100, "overwrite": True}
        found = relayout(tmp_path / source, tmp_path / "out", **options)
        assert found["n_buckets"] == pytest.approx(len(FRAME) / 100, abs=1)
    small = relayout(tmp_path / "in.parquet", tmp_path / "small", **KEYS, max_memory="100kB")
    assert 3 < small["n_buckets"] < 30
    assert relayout(tmp_path / "in.parquet", tmp_path / "one", **KEYS)["n_buckets"] == 1


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2024-01-01", periods=40, tz="Europe/Berlin", freq="h", unit="us"),
        pd.period_range("2020-01", periods=40, freq="M"),
        pd.date_range("2024-01-01", periods=40).date,
        np.arange(40) * 0.5,
        np.arange(40, dtype=np.int16) - 20,
    ],
)
def test_times_of_every_kind_are_put_in_order(times, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"t": np.tile(times, 3), "s": np.repeat([1, 2, 3], 40), "y": np.arange(120)}
    )
    frame = frame.astype({"t": pd.Series(times).dtype})
    frame.iloc[rng.permutation(120)].to_parquet(tmp_path / "in.parquet")
    relayout(tmp_path / "in.parquet", tmp_path / "out", series="s", time="t", n_buckets=1)
    (found,) = read(tmp_path / "out")
    assert found["y"].tolist() == list(range(120))


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"n_buckets": 0}, ValueError, "n_buckets: expected an integer >= 1, received 0"),
        ({}, {"n_buckets": 2, "rows_per_bucket": 3}, ValueError, "received both"),
        ({}, {"series": "shop"}, ValueError, "series: expected a column of the files.*'shop'"),
        ({}, {"time": "day"}, ValueError, "time: expected a column of the files.*'day'"),
        ({"date": lambda f: f["date"].astype(str)}, {}, TypeError,
         "Time column 'date': expected dates, times or numbers, received text"),
        ({"store": lambda f: f["store"].where(np.arange(len(f)) != 7)}, {}, ValueError,
         "Column 'store': expected a value in every row, row 7 of the files has none"),
        ({}, {"n_buckets": 1, "max_memory": "60kB"}, ValueError,
         "Bucket 0 of .* rows does not fit max_memory=0.06 MB. Pass more buckets"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_left(change, options, error, message, tmp_path):
    FRAME.assign(**change).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(error, match=message):
        relayout(tmp_path / "in.parquet", tmp_path / "out", **{**KEYS, **options})
    assert os.listdir(tmp_path) == ["in.parquet"]


def test_bad_csv_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        relayout(tmp_path / "no.csv", tmp_path / "out", **KEYS)
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.drop(columns="sky").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="b.csv: expected the columns of .*a.csv"):
        relayout([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out", **KEYS)
    FRAME.assign(sales="much").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match=r"b.csv: .*(another type|expected a CSV).*much"):
        relayout([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out", **KEYS)
    FRAME.to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="Parquet files or CSV files, received both"):
        relayout([tmp_path / "a.csv", tmp_path / "c.parquet"], tmp_path / "out", **KEYS)


def test_what_is_there_is_replaced_only_when_asked_and_whole(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "in.parquet")
    options = {**KEYS, "n_buckets": 3}
    before = relayout(tmp_path / "in.parquet", tmp_path / "out", **options)
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        relayout(tmp_path / "in.parquet", tmp_path / "out", **options)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_manifest", full)
        with pytest.raises(OSError, match="No space left"):
            relayout(tmp_path / "in.parquet", tmp_path / "out", **options, overwrite=True)
    check_files(tmp_path / "out", digests=True)
    assert json.loads((tmp_path / "out" / MANIFEST).read_text()) == before
    after = relayout(tmp_path / "in.parquet", tmp_path / "out", **KEYS, n_buckets=2, overwrite=True)
    assert after["n_buckets"] == 2
    assert sorted(os.listdir(tmp_path)) == ["in.parquet", "out"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="expected a folder of buckets"):
        relayout(tmp_path / "in.parquet", tmp_path / "mine", **options, overwrite=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "bucket-00001.parquet").unlink(), "bucket-00001.parquet is missing"),
        (lambda f: os.truncate(f / "bucket-00000.parquet", 500), "00000.parquet has 500 bytes in"),
        (lambda f: (f / "more.parquet").write_bytes(b""), "more.parquet is not one of its 3 files"),
        (lambda f: (f / MANIFEST).write_text('{"kind": 1'), "expected the manifest of relayout"),
        (lambda f: (f / MANIFEST).write_text(
            '{"kind": "tsfusion.buckets", "version": 9, "files": []}'), "received.*version 9"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_whole_is_refused(damage, message, tmp_path):
    FRAME.to_parquet(tmp_path / "in.parquet")
    relayout(tmp_path / "in.parquet", tmp_path / "out", **KEYS, n_buckets=3)
    damage(tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        ParquetPanel(tmp_path / "out", **ROLES)
    with pytest.raises(ValueError, match=message):
        relayout(tmp_path / "out", tmp_path / "again", **KEYS)


def test_a_changed_byte_is_found_by_the_digests(tmp_path):
    FRAME.to_parquet(tmp_path / "in.parquet")
    relayout(tmp_path / "in.parquet", tmp_path / "out", **KEYS, n_buckets=2)
    path = tmp_path / "out" / "bucket-00001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    check_files(tmp_path / "out")
    with pytest.raises(ValueError, match="bucket-00001.parquet was changed; copy the whole"):
        check_files(tmp_path / "out", digests=True)


def test_the_command(tmp_path):
    FRAME.to_parquet(tmp_path / "in.parquet")
    arguments = ["relayout", str(tmp_path / "in.parquet"), "--series", "store,item", "--time",
                 "date", "--n-buckets", "4", "-o", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"{len(FRAME)} rows in 4 files." in done.output
    assert_laid_out(tmp_path / "out", FRAME, 4)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "pass overwrite=True" in again.output


MEASURE = """
import sys
import pandas, pyarrow.parquet, pyarrow.dataset
from tsfusion.scale import relayout

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

options = dict(series="store", time="date", max_memory="64MB", overwrite=True)
relayout(sys.argv[1], sys.argv[3], **options)
before = peak()
manifest = relayout(sys.argv[2], sys.argv[3], **options)
print(manifest["rows"], manifest["n_buckets"], peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_within_the_bound(tmp_path):
    for name, n_steps in (("small", 10), ("large", 2_500)):
        step = np.repeat(np.arange(n_steps), 300)
        frame = pd.DataFrame(
            {
                "date": np.datetime64("2021-01-01", "us") + step * np.timedelta64(3_600, "s"),
                "store": [f"store {i:04}" for i in np.tile(np.arange(300), n_steps)],
                "sales": np.arange(len(step), dtype=float),
            }
        )
        frame.to_parquet(tmp_path / f"{name}.parquet", row_group_size=len(frame))
    paths = [str(tmp_path / name) for name in ("small.parquet", "large.parquet", "out")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], check=True, capture_output=True, text=True
    )
    rows, n_buckets, grown = map(int, done.stdout.split())
    assert rows == 750_000
    assert n_buckets > 2
    assert grown < 64e6, grown
