"""Structured reports of found points: what highdicom reads, and what cannot be referred to."""

import numpy as np
import pandas as pd
import pydicom
import pytest
from highdicom import sr
from PIL import Image

from raymark import cli
from tests.unit.detection.test_on_files import IMAGE, model_path  # noqa: F401
from tests.unit.imports.test_xray_file import write_dicom

WHOLE = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "SOPInstanceUID": "1.2.3",
    "StudyInstanceUID": "1.2.4",
    "SeriesInstanceUID": "1.2.5",
    "StudyDate": "20200131",
}


@pytest.fixture
def predict(tmp_path, model_path):  # noqa: F811
    def run(path, *options):
        words = ["predict", "--model", model_path, str(path), "--out", str(tmp_path / "out")]
        return cli.main([*words, "--also", "sr", *options])

    return run


@pytest.mark.parametrize("tags", [{}, {"PatientOrientation": ["R", "F"]}])
def test_highdicom_reads_the_points_where_the_table_has_them(tmp_path, predict, tags):
    """DICOM counts from the corner of the first pixel of the image as it is stored."""
    write_dicom(tmp_path / "a.dcm", **WHOLE, **tags)
    assert predict(tmp_path / "a.dcm") == 0
    report = sr.srread(tmp_path / "out/a_points.sr.dcm")
    table = pd.read_csv(tmp_path / "out/a_points.csv").set_index("landmark")
    assert isinstance(report, sr.ComprehensiveSR)
    groups = report.content.get_planar_roi_measurement_groups(
        graphic_type=sr.GraphicTypeValues.POINT
    )
    assert (
        {group.tracking_identifier for group in groups} == set(table.index) == {"left_x", "right_x"}
    )
    for group in groups:
        found = table.loc[group.tracking_identifier]
        assert group.finding_type.value == group.tracking_identifier
        region = group.roi
        np.testing.assert_allclose(region.value - 0.5, [[found.x_px, found.y_px]], atol=1e-3)
        (certainty,) = group.get_measurements()
        assert certainty.value == pytest.approx(100 * min(found.confidence, 1), abs=0.06)
    assert report.PatientName == "Secret^Patient"
    assert (report.StudyInstanceUID, report.ContentDate) == ("1.2.4", "20200131")
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (image,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert image.ReferencedSOPInstanceUID == "1.2.3"


def test_the_frame_of_a_series_is_referred_to(tmp_path, predict):
    pixels = IMAGE.tobytes() + IMAGE[::-1].tobytes()
    write_dicom(tmp_path / "a.dcm", **WHOLE, NumberOfFrames=2, PixelData=pixels)
    assert predict(tmp_path / "a.dcm", "--frame", "2") == 0
    report = sr.srread(tmp_path / "out/a_points.sr.dcm")
    items = [i for i in report.iterall() if i.keyword == "ReferencedFrameNumber"]
    assert items
    assert {int(item.value) for item in items} == {2}


def test_two_reports_are_the_same_to_the_byte(tmp_path, predict):
    write_dicom(tmp_path / "a.dcm", **WHOLE)
    written = []
    for _ in range(2):
        assert predict(tmp_path / "a.dcm") == 0
        written.append((tmp_path / "out/a_points.sr.dcm").read_bytes())
    assert written[0] == written[1]
    assert pydicom.dcmread(tmp_path / "out/a_points.sr.dcm").Modality == "SR"


def test_an_image_without_a_date_has_a_report_of_none(tmp_path, predict):
    write_dicom(tmp_path / "a.dcm", **(WHOLE | {"StudyDate": ""}))
    assert predict(tmp_path / "a.dcm") == 0
    assert sr.srread(tmp_path / "out/a_points.sr.dcm").ContentDate == "19000101"


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"StudyInstanceUID": None}, "has no StudyInstanceUID"),
        ({"SOPInstanceUID": None}, "has no SOPInstanceUID"),
        ({"PatientSex": "Secret"}, "a header of which no structured report can be made"),
        ({"StudyDate": "Secret"}, "a header of which no structured report can be made"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # pydicom's, of what is wrong here on purpose
def test_what_a_report_cannot_refer_to_is_refused(tmp_path, predict, capsys, tags, told):
    write_dicom(tmp_path / "a.dcm", **(WHOLE | tags))
    assert predict(tmp_path / "a.dcm") == 1
    error = capsys.readouterr().err
    assert told in error
    assert "a.dcm" in error
    assert "Secret" not in error
    assert not (tmp_path / "out/a_points.sr.dcm").exists()


def test_a_picture_has_no_report(tmp_path, predict, capsys):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    assert predict(tmp_path / "a.png") == 1
    assert "a.png: is no DICOM file, and a structured report" in capsys.readouterr().err
