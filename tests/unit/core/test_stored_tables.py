"""Tables below results/ that are damaged: one error that names the file and how to make it again."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymark import layout
from raymark.core.errors import InputError
from raymark.core.stored_tables import check_table, store_table, stored_table
from raymark.correspondence.matches import read_matches
from raymark.datasets.imported import read_images
from raymark.evaluation.errors import read_errors, read_predictions
from raymark.evaluation.results import read_losses
from raymark.landmarks.table import landmark_table, read_landmark_table, write_landmarks
from raymark.pose.pose_table import read_poses
from raymark.radiotherapy.setup_table import read_setup
from raymark.views.plan import read_views


def images(path):
    return read_images(Path(path).name.split(".")[0])


def losses(path):
    return read_losses(None, *Path(path).parts[2:4], 0)


READERS = {  # reader: (the table's path, what makes it)
    read_predictions: ("p.parquet", "raymark predict-views"),
    read_views: ("v.parquet", "raymark views"),
    read_matches: ("m.parquet", "Delete it"),
    read_landmark_table: ("l.csv", "raymark landmarks"),
    images: (layout.IMPORTED_IMAGES.format(dataset="d"), "raymark import-2d"),
    losses: (layout.LOSSES.format(dataset="d", method="m", seed=0), "train again"),
    (lambda path: read_errors([path])): ("e.parquet", "raymark evaluate"),
    (lambda path: read_poses([path])): ("q.parquet", "raymark pose"),
    (lambda path: read_setup([path])): ("s.parquet", "raymark setup-error"),
}
DAMAGES = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "other": lambda path: write(path, pd.DataFrame({"a": [1]})),
}


def write(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path) if path.suffix == ".csv" else table.to_parquet(path)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: READERS[reader][0])
def test_damage_is_named_with_its_remedy(reader, damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, remedy = READERS[reader]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    DAMAGES[damage](Path(path))
    with pytest.raises(InputError) as error:
        reader(path)
    assert error.value.source.endswith(path)
    assert remedy in error.value.remedy


def test_words_in_the_place_of_numbers_are_refused(tmp_path):
    points = landmark_table("s", ["tip"], [[1.0, 2.0, 3.0]], "csv")
    write_landmarks(points, tmp_path / "l.csv")
    pd.testing.assert_frame_equal(read_landmark_table(tmp_path / "l.csv"), points)
    text = (tmp_path / "l.csv").read_text()
    (tmp_path / "l.csv").write_text(text.replace("2.000", "two"))
    with pytest.raises(InputError, match="no numbers in its column 'y_mm'"):
        read_landmark_table(tmp_path / "l.csv")


def test_what_pandas_wrote_about_a_table_is_not_believed(tmp_path):
    table = pa.table({"a": [1]}).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, tmp_path / "t.parquet")
    read = stored_table(tmp_path / "t.parquet", "a table", "Again", ["a"])
    assert read["a"].tolist() == [1]


def test_a_changed_value_is_found_by_every_reader(tmp_path):
    path = tmp_path / "t.parquet"
    store_table(pa.table({"a": list(range(1000)), "b": ["x", "y"] * 500}), path, row_group_size=100)
    check_table(path)
    chunk = pq.read_metadata(path).row_group(3).column(0)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet: is damaged .*CRC"):
        check_table(path)
    with pytest.raises(InputError, match="CRC"):
        stored_table(path, "a table", "Again")
    with pytest.raises(InputError, match="CRC"):
        stored_table(path, "a table", "Again", filters=[("b", "=", "x")])


def test_all_tables_have_checksums():
    """No module writes Parquet but by `store_table`."""
    own = Path(stored_table.__code__.co_filename)
    for path in own.parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        written = text.count("pq.write_table(") + text.count(".to_parquet(")
        assert written == (path == own), path


def test_equal_tables_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        store_table(pa.table({"a": [1.5, None]}), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
