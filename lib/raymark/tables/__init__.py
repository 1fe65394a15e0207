"""Tables: a DataFrame and how its columns read, written as CSV, Markdown, LaTeX and HTML."""

from raymark.config.project import Project
from raymark.core.errors import InputError
from raymark.tables._formats import write_table
from raymark.tables.base import Column, Table

__all__ = ["TABLES", "Column", "Table", "make_table", "table_names", "write_table"]

TABLES = {
    "data": "CTs, data sets, view sets and what they show",
    "cts": "what each CT is like",
    "matrix": "methods by data sets: error, and whether it differs from the baseline",
    "comparisons": "each method's difference from its data set's baseline, with its test",
    "methods": "every experiment: MRE, SDR, PCK, detection",
    "landmarks": "error and detection of each landmark, per method",
    "detection": "errors of detected landmarks and accuracy per view (Bier 2018)",
    "rmse": "RMSE per landmark beside the published cells (registration-loss paper)",
    "pck": "landmarks within a distance in px (LandmarkNet)",
    "instances": "landmark types, several of one in an image (LandmarkNet)",
    "sdr": "landmarks within a distance in mm (appearance-context paper)",
    "cobb": "SMAPE of Cobb angles (appearance-context paper)",
    "cephalometry": "errors and detection on cephalograms (appearance-context paper, Table I)",
    "cephalometric_classes": "success classification rates (appearance-context paper, Table II)",
    "pose": "errors of the poses from landmarks and of their refinement (Bier 2018)",
    "capture_range": "from how far the refinement of a pose finds back",
    "setup": "set-up errors by landmarks and by mutual information (LandmarkNet)",
    "contrast": "contrast of bone, kilovoltage against megavoltage (LandmarkNet)",
    "decoder_bias": "each decoder's error on Gaussians at known places, per output stride",
}
PUBLISHES = {
    "detection": "mre_px",
    "rmse": "rmse_px",
    "pck": "pck_8_px",
    "instances": "pck_image_8_px",
    "sdr": "sdr_6_mm",
    "cobb": "smape",
    "cephalometry": "sdr_2.5_mm",
    "cephalometric_classes": "scr",
}
OF_POSES = ("pose", "capture_range")


def table_names(project: Project) -> list[str]:
    """List the tables that a configuration calls for: those of a paper only where it is compared."""
    from raymark.config.papers import read_paper

    papers = [read_paper(name) for name in {e.paper for e in project.config.experiments} if name]
    published = {key for paper in papers for row in paper.rows for key in row.values}
    asked = {
        "cts": bool(project.datasets),
        **dict.fromkeys(OF_POSES, bool(project.pose_places())),
        "setup": bool(project.setup_places()),
        "contrast": project.config.contrast is not None,
    }
    return [
        name
        for name in TABLES
        if PUBLISHES.get(name) in (published | {None}) and asked.get(name, True)
    ]


def make_table(name: str, project: Project) -> Table:
    """Make a table from what the workflow wrote below the working folder."""
    if name == "decoder_bias":
        from raymark.tables.decoders import decoder_bias  # the only table that needs torch

        return decoder_bias()
    from raymark.evaluation.results import read_results
    from raymark.tables import (
        accuracy,
        cephalometry,
        contrast,
        data,
        instances,
        keypoints,
        landmarks,
        matrix,
        pose,
        setup,
    )

    of_material = {
        "data": data.read_data,
        "cts": data.read_cts,
        "pose": pose.read_pose,
        "capture_range": pose.read_capture_range,
        "setup": setup.read_setup_table,
        "contrast": contrast.read_contrast,
    }
    if name in of_material:
        return of_material[name](project)
    of_results = {
        "matrix": matrix.matrix,
        "comparisons": matrix.comparisons,
        "methods": accuracy.methods,
        "detection": accuracy.detected,
        "landmarks": landmarks.landmarks,
        "rmse": landmarks.rmse,
        "pck": keypoints.pck,
        "instances": instances.instances,
        "sdr": keypoints.sdr,
        "cobb": keypoints.cobb,
        "cephalometry": cephalometry.cephalometry,
        "cephalometric_classes": cephalometry.cephalometric_classes,
    }
    if name not in of_results:
        raise InputError(f"table {name!r}", "is not known", f"Known: {', '.join(TABLES)}")
    return of_results[name](read_results(project))
