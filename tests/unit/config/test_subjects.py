import pytest

from raymark.config.subjects import Subject, check_files, parent_of, read_subjects, virtual_subjects
from raymark.core.errors import InputError

HEADER = "subject\tpatient\tct\tlandmarks\tlabels\tsplit\n"
PELVIS = "pelvis\tP1\tsource:ct\trecipe:pelvis.yaml\tsource:labels\ttrain\n"
CHEST = "chest\tP2\tmy/chest.nii.gz\tmy/chest.mrk.json\t\ttest\n"


@pytest.fixture
def sheet(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "subjects.tsv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_rows_keep_their_order_and_values(sheet):
    subjects = read_subjects(sheet(HEADER + PELVIS + "\n" + CHEST))
    assert list(subjects) == ["pelvis", "chest"]
    assert subjects["chest"] == Subject(
        "chest", "P2", "my/chest.nii.gz", "my/chest.mrk.json", "", "test"
    )


def test_column_order_line_ends_and_byte_order_mark_do_not_matter(sheet):
    text = "split\tlabels\tsubject\tpatient\tct\tlandmarks\r\ntest\t\tchest\tP2\tc.nrrd\tl.csv\r\n"
    subject = read_subjects(sheet(text, "utf-8-sig"))["chest"]
    assert (subject.ct, subject.split) == ("c.nrrd", "test")


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "line 1", "missing column subject"),
        (HEADER.replace("labels\t", "") + PELVIS, "line 1", "missing column labels"),
        (HEADER.replace("\n", "\tage\n") + PELVIS, "line 1", "unknown column age"),
        (HEADER.replace("\n", "\tct\n") + PELVIS, "line 1", "repeated column ct"),
        (HEADER.replace("\t", ",") + PELVIS, "line 1", "missing column"),
        (HEADER, "subjects.tsv", "lists no subject"),
        (HEADER + PELVIS + PELVIS, "line 3, column subject", "twice"),
        (HEADER + "../etc\tP\tc\tl\t\ttrain\n", "line 2, column subject", "not an id"),
        (HEADER + "a b\tP\tc\tl\t\ttrain\n", "line 2, column subject", "not an id"),
        (HEADER + "-a\tP\tc\tl\t\ttrain\n", "line 2, column subject", "not an id"),
        (HEADER + "é\tP\tc\tl\t\ttrain\n", "line 2, column subject", "not an id"),
        (HEADER + "a\t\tc\tl\t\ttrain\n", "line 2, column patient", "not an id"),
        (HEADER + "a-v001\tP\tc\tl\t\ttrain\n", "line 2, column subject", "virtual"),
        (HEADER + "a\tP\t\tl\t\ttrain\n", "line 2, column ct", "empty"),
        (HEADER + "a\tP\tc\t\t\ttrain\n", "line 2, column landmarks", "empty"),
        (HEADER + "a\tP\tc\tl\t\tvalid\n", "line 2, column split", "'valid'"),
        (HEADER + "a\tP\tc\trecipe:r\t\ttest\n", "line 2, column labels", "recipe:r"),
        (HEADER + "a\tP\tc\tatlas:b\t\ttest\n", "subject a, column landmarks", "'b' is not"),
        (HEADER + "a\tP\tc\tatlas:a\t\ttest\n", "subject a, column landmarks", "of its own"),
        (
            HEADER.replace("\n", "\texclude\n")
            + "a\tP\tc\tatlas:b\t\ttest\t\nb\tQ\tc\tl.csv\t\ttrain\tblurred\n",
            "subject a, column landmarks",
            "the atlas 'b' is excluded: blurred",
        ),
        (HEADER + "a\tP\tc\tl\ttest\n", "line 2", "5 fields"),
        (HEADER + PELVIS + CHEST.replace("P2", "P1"), "line 3, column split", "'P1'"),
    ],
)
def test_refused_with_file_place_and_remedy(sheet, text, place, problem):
    path = sheet(text)
    with pytest.raises(InputError) as error:
        read_subjects(path)
    assert str(path) in error.value.source
    assert error.value.source.endswith(place)
    assert problem in error.value.problem
    assert error.value.remedy


def test_a_missing_or_binary_sheet_is_an_input_error(tmp_path):
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe\x00subject")
    (tmp_path / "long.tsv").write_text("x" * 200_000)
    (tmp_path / "nothing.tsv").touch()
    for name in ("none.tsv", "binary.tsv", "long.tsv", "nothing.tsv"):
        with pytest.raises(InputError, match=name):
            read_subjects(tmp_path / name)


def test_virtual_patients_are_named_after_their_parent():
    assert virtual_subjects("pelvis", 2) == ["pelvis-v001", "pelvis-v002"]
    assert virtual_subjects("pelvis", 0) == []
    assert {parent_of(name) for name in virtual_subjects("a-b", 1200)} == {"a-b"}
    assert parent_of("pelvis") == "pelvis"
    assert parent_of("pelvis-v1") == "pelvis-v1"


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        ({"ct": "gone.mha"}, "line 3, column ct", "'gone.mha' is not there"),
        ({"landmarks": "gone.csv"}, "line 3, column landmarks", "'gone.csv' is not there"),
        ({"labels": "gone.nrrd"}, "line 3, column labels", "'gone.nrrd' is not there"),
        ({"landmarks": "recipe:gone.yaml"}, "line 3, column landmarks", "'gone.yaml' is not there"),
        ({"ct": "source:nowhere"}, "line 3, column ct", "'source:nowhere' is not in the table"),
    ],
)
def test_files_that_are_not_there_are_refused_where_asked(
    sheet, tmp_path, monkeypatch, change, place, problem
):
    monkeypatch.chdir(tmp_path)
    for name in ("ct.mha", "points.csv", "labels.nrrd", "r.yaml"):
        (tmp_path / name).touch()

    def line(**cells):
        cells = {"ct": "ct.mha", "landmarks": "points.csv", "labels": "labels.nrrd"} | cells
        return f"a\tp\t{cells['ct']}\t{cells['landmarks']}\t{cells['labels']}\ttrain\n"

    unused = "b\tq\tnone.mha\tnone.csv\t\ttrain\n"
    whole = sheet(HEADER + unused + line())
    check_files(whole, {"a"}, ["known"])
    check_files(
        sheet(HEADER + line(ct="source:known", landmarks="recipe:r.yaml")), {"a"}, ["known"]
    )
    path = sheet(HEADER + unused + line(**change))
    assert "a" in read_subjects(path)  # a job's view: what the files have become does not matter
    with pytest.raises(InputError) as error:
        check_files(path, {"a"}, ["known"])
    assert str(error.value).startswith(f"{path}, {place}: {problem}")


@pytest.mark.parametrize(
    ("ct", "landmarks", "problem"),
    [
        ("calibrated:other/A/ct.nii.gz", "l.csv", "is of no calibrated data set"),
        ("calibrated:known/A", "l.csv", "is of no calibrated data set"),
        ("calibrated:known/A/labels.nii.gz", "l.csv", "is no ct"),
        ("calibrated:known/A/ct.nii.gz", "calibrated:known/B/landmarks.csv", "does not belong to"),
        ("calibrated:known/A/ct.nii.gz", "calibrated:known/A/points.csv", "is no landmarks"),
    ],
)
def test_a_cell_of_a_calibrated_data_set_is_of_the_file_and_subject_of_its_row(
    sheet, tmp_path, monkeypatch, ct, landmarks, problem
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.csv").touch()
    path = sheet(HEADER + f"a\tP\t{ct}\t{landmarks}\t\ttest\n")
    with pytest.raises(InputError, match=problem):
        check_files(path, {"a"}, [], ["known"])


def test_cells_of_one_subject_of_a_calibrated_data_set_pass(sheet):
    cells = "\t".join(
        f"calibrated:known/A/{f}" for f in ("ct.nii.gz", "landmarks.csv", "labels.nii.gz")
    )
    check_files(sheet(HEADER + f"a\tP\t{cells}\ttest\n"), {"a"}, [], ["known"])
