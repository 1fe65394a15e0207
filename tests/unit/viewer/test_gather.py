"""What is shown of a user's own files, and of a project; what is lacking is told with its remedy."""

import threading
import time
import urllib.request

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from raymark import cli
from raymark.config.project import read_project
from raymark.core.errors import InputError
from raymark.ct import write_volume
from raymark.geometry.camera import Detector, carm_camera
from raymark.pose.pose_file import PosedView, record_of, write_pose
from raymark.viewer import gather
from raymark.viewer.server import Viewer
from raymark.viewer.shown import read_poses
from tests.unit.viewer.examples import SHAPE, VOXELS, affine, beads, points_mm
from tests.workflow.conftest import make_project


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A CT with its points and labels."""
    monkeypatch.chdir(tmp_path)
    write_volume("ct.nii.gz", beads())
    table = pd.DataFrame(points_mm(), columns=["x_mm", "y_mm", "z_mm"])
    table.assign(landmark=list(VOXELS)).to_csv("points.csv", index=False)
    ids = np.zeros(SHAPE, np.uint8)
    ids[10:20, 10:20, 10:20] = 3
    nib.save(nib.Nifti1Image(ids, affine()), "labels.nii.gz")
    return tmp_path


def test_own_files_are_shown_in_their_own_frame(files):
    of = gather.own("ct.nii.gz", "points.csv", "labels.nii.gz")
    np.testing.assert_allclose(of.points_mm, points_mm())
    np.testing.assert_allclose(of.isocentre_mm, points_mm().mean(axis=0))
    assert list(of.names) == list(VOXELS)
    assert of.labels is not None
    assert set(np.unique(of.labels.labels_xyz)) == {0, 3}
    assert of.planned == []


def test_a_ct_alone_is_turned_about_its_middle(files):
    of = gather.own("ct.nii.gz", None, None)
    middle = affine()[:3] @ [*(SHAPE - 1) / 2, 1]
    np.testing.assert_allclose(of.isocentre_mm, middle)


def test_a_pose_comes_with_its_xray(files):
    camera = carm_camera(Detector(40, 60, 2.0), primary_deg=20, secondary_deg=5,
                         isocentre_world_mm=points_mm()[0], source_to_isocentre_mm=700,
                         source_to_detector_mm=1000)  # fmt: skip
    (files / "found").mkdir()
    grey = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    Image.fromarray(grey).save("shot.png")
    views = [
        PosedView(name, camera.K, camera.world_to_camera, 40, 60)
        for name in ("shot.png", "gone.png")
    ]
    write_pose("found/pose.json", {"views": [record_of(view, 1000.0) for view in views]})
    with_image, without = read_poses("found/pose.json")
    assert with_image.image_yx is not None
    assert with_image.image_yx.shape == (40, 60)
    assert without.image_yx is None
    np.testing.assert_allclose(with_image.camera.projection, camera.projection)
    assert with_image.source_to_detector_mm == 1000


def test_a_subject_of_a_project_brings_the_views_planned_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path / "p").folder)
    project = read_project("config.yaml")
    with pytest.raises(
        InputError, match=r"ct.nii.gz: is not there yet. Run snakemake .* raymark ingest"
    ):
        gather.of_project(project, "balls", "ball_patient")
    for step in ("ingest", "landmarks"):
        assert cli.main([step, "balls", "ball_patient", "--config", "config.yaml"]) == 0
    of = gather.of_project(project, "balls", "ball_patient")
    assert sorted(of.planned) == ["novel", "train", "validation"]
    novel = of.views("novel", of.dataset.view_sets["novel"], of.isocentre_mm)
    assert {(row["primary_deg"], row["secondary_deg"]) for row in novel} >= {(-60, -45), (60, 45)}
    with pytest.raises(InputError, match="is not known"):
        gather.of_project(project, "balls", "nobody")


@pytest.mark.parametrize(
    "given",
    [[], ["balls"], ["balls", "ann", "--ct", "x.nii.gz"], ["balls", "ann", "--landmarks", "x.csv"]],
)
def test_either_own_files_or_a_subject(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make_project(tmp_path / "p").folder)
    assert cli.main(["view", *given, "--config", "config.yaml"]) == 1
    assert "needs either a CT of your own or a subject" in capsys.readouterr().err


def test_the_command_tells_its_address_and_serves_there(files, monkeypatch, capsys):
    begun, opened = threading.Event(), []

    def serve(self):
        def ask():
            with urllib.request.urlopen(self.address, timeout=20) as answer:
                opened.append(answer.read())
            begun.set()

        threading.Thread(target=ask, daemon=True).start()
        self.timeout, end = 0.2, time.monotonic() + 20
        while not begun.is_set() and time.monotonic() < end:
            self.handle_request()
        raise KeyboardInterrupt  # Ctrl-C

    monkeypatch.setattr(Viewer, "serve_forever", serve)
    monkeypatch.setattr(Viewer, "warm_up", lambda _: None)  # looks up a spectrum: seconds
    assert cli.main(["view", "--ct", "ct.nii.gz", "--landmarks", "points.csv", "--no-browser"]) == 0
    assert "Open http://127.0.0.1:" in capsys.readouterr().out
    assert b"raymark view" in opened[0]
