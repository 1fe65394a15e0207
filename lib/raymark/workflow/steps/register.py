"""The steps on a user's own X-rays and CT: a pose, a rendered X-ray, points put into an image."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    import numpy as np

    from raymark.imports.stored_image import Xray

Ct = Annotated[str, Option(help="the patient's CT: DICOM, NIfTI, NRRD, MHA", show_default=False)]


def _mm(help: str) -> Any:
    return Option(help=help, show_default=False, min=0.001)


def _known(help: str, **options: Any) -> Any:
    return Option(help=help, show_default=False, **options)


def register(
    ct: Ct,
    xray: Annotated[list[str], _known("an X-ray; several times for several views")],
    out: Annotated[str, Option(help="folder to write to")] = "registered",
    landmarks3d: Annotated[
        str | None, _known("landmarks in the CT: Slicer .mrk.json or .fcsv, or CSV")
    ] = None,
    landmarks2d: Annotated[
        list[str] | None, _known("landmarks in an X-ray: CSV landmark, x_px, y_px; one per X-ray")
    ] = None,
    model: Annotated[
        str | None, _known("a model.safetensors that finds the landmarks in the X-rays")
    ] = None,
    from_dicom: Annotated[
        bool, Option("--from-dicom", help="start from the C-arm's tags of the files")
    ] = False,
    pose: Annotated[
        str | None, Option("--pose", "--restart", help="start from a pose.json", show_default=False)
    ] = None,
    angles: Annotated[
        str | None, _known("start from primary,secondary angle in degrees, e.g. 90,0")
    ] = None,
    source_to_detector_mm: Annotated[float | None, _mm("counts before the files' tags")] = None,
    source_to_patient_mm: Annotated[float | None, _mm("counts before the files' tags")] = None,
    pixel_mm: Annotated[float | None, _mm("pixel size at the detector")] = None,
    principal_point: Annotated[
        str | None, _known("x,y in px of the file where the central ray meets the detector")
    ] = None,
    mirrored: Annotated[
        bool, Option("--mirrored", help="the patient's left is on the image's left")
    ] = False,
    invert: Annotated[bool, Option("--invert", help="bone is shown dark")] = False,
    frame: Annotated[int | None, _known("which frame of a series, from 1")] = None,
    crop: Annotated[int, Option(help="px of the file to leave out at each side", min=0)] = 0,
    mask: Annotated[
        str | None, _known("an image of the X-ray's size, black where there is no X-ray")
    ] = None,
    labels: Annotated[
        str | None, _known("a label map of the CT: chosen bones get a pose of their own")
    ] = None,
    label: Annotated[list[int] | None, _known("a label to choose; several times; else all")] = None,
    each: Annotated[bool, Option("--each", help="one pose for each label, not for all")] = False,
    free: Annotated[
        bool, Option("--free", help="views of one pose file move one by one, not together")
    ] = False,
) -> None:
    """Find from where in a CT X-rays of your own were taken.

    Starts from landmarks, the C-arm's tags, angles or a pose file; without any of them it searches. Writes
    pose.json, pictures, transforms and the landmarks in the image, and tells whether to trust the pose.
    See docs/register.md.
    """
    from raymark.core.doubts import warn
    from raymark.ct import read_ct
    from raymark.pose.asked import Asked
    from raymark.pose.register import register
    from raymark.pose.results import told, write_results

    asked = Asked(
        from_dicom=from_dicom,
        pose=pose,
        landmarks3d=landmarks3d,
        landmarks2d=landmarks2d or (),
        source_to_detector_mm=source_to_detector_mm,
        source_to_patient_mm=source_to_patient_mm,
        pixel_mm=pixel_mm,
        principal_px=_pair("--principal-point", principal_point),
        angles_deg=_pair("--angles", angles),
        mirrored=mirrored,
        invert=invert,
        frame=frame,
        crop_px=crop,
        mask=mask,
        free=free,
        labels=labels,
        chosen=label or (),
        each=each,
    )
    volume = read_ct(ct)
    warn(ct, volume.doubts)
    results, world_mm = register(volume, xray, asked, _finder(model) if model else None)
    write_results(out, ct, volume, results, world_mm)
    for result in results:
        untrusted = [] if result.verdict.trusted else ["its pose is NOT to be trusted"]
        warn(result.view.path, [*result.view.doubts, *result.doubts, *untrusted])
    print(told(results, out))


def _finder(model: str) -> "Callable[[Xray], dict[str, np.ndarray]]":
    """Return a function that finds a trained model's landmarks in an X-ray."""
    from raymark.core.doubts import warn
    from raymark.detection.on_files import find_landmarks
    from raymark.training.model_files import load_model

    network, trained = load_model(model)

    def find(xray: "Xray") -> "dict[str, np.ndarray]":
        table, doubts = find_landmarks(network, trained, xray)
        warn(model, doubts)
        table = table[table["detected"] & (table["instance"] == 0)]
        return dict(zip(table["landmark"], table[["x_px", "y_px"]].to_numpy(float), strict=True))

    return find


def drr(
    ct: Ct,
    out: Annotated[str, Option(help=".png, .nii.gz or .dcm to write")] = "drr.png",
    pose: Annotated[str | None, _known("a pose.json")] = None,
    view: Annotated[int, Option(help="which of its views, from 1", min=1)] = 1,
    angles: Annotated[
        str | None, _known("primary,secondary angle of a C-arm in degrees, about the CT's middle")
    ] = None,
    source_to_detector_mm: Annotated[float, Option(help="with --angles", min=1)] = 1100.0,
    source_to_patient_mm: Annotated[float, Option(help="with --angles", min=1)] = 750.0,
    size: Annotated[int, Option(help="px of a side, with --angles", min=16, max=4096)] = 512,
    pixel_mm: Annotated[float, Option(help="at the detector, with --angles", min=0.01)] = 0.7,
) -> None:
    """Render one X-ray of a CT, at a pose or at a C-arm's angles."""
    from raymark.core.errors import InputError
    from raymark.ct import read_ct
    from raymark.geometry.camera import Camera, Detector, carm_camera
    from raymark.pose.drr import log_xray, write_xray
    from raymark.pose.pose_file import view_of

    turned = _pair("--angles", angles)
    if (pose is None) == (turned is None):
        raise InputError("drr", "needs a pose", "Give either --pose or --angles")
    volume = read_ct(ct)
    centre_mm = volume.affine[:3] @ [*((n - 1) / 2 for n in volume.hu_xyz.shape), 1.0]
    if pose is not None:
        posed, source_to_detector_mm = view_of(pose, view)
        camera = Camera(posed.K, posed.world_to_camera, posed.height_px, posed.width_px)
    elif turned is not None:
        camera = carm_camera(
            Detector(size, size, pixel_mm),
            primary_deg=turned[0],
            secondary_deg=turned[1],
            isocentre_world_mm=centre_mm,
            source_to_isocentre_mm=source_to_patient_mm,
            source_to_detector_mm=source_to_detector_mm,
        )
    write_xray(out, log_xray(volume, camera), camera, source_to_detector_mm, centre_mm)
    print(out)


def project(
    points: Annotated[str, _known("points in the CT: Slicer .mrk.json or .fcsv, or CSV in RAS mm")],
    pose: Annotated[str, _known("a pose.json")],
    out: Annotated[str, Option(help="CSV to write")] = "points.csv",
    view: Annotated[int, Option(help="which of its views, from 1", min=1)] = 1,
) -> None:
    """Put 3D points into an X-ray: landmark, x_px, y_px in the pixels of pose.json's image."""
    import numpy as np
    import pandas as pd

    from raymark.core.doubts import warn
    from raymark.core.files import atomic
    from raymark.geometry.camera import inside, project
    from raymark.landmarks.point_files import XYZ, read_points
    from raymark.pose.pose_file import view_of

    table, doubts = read_points(points, "")
    warn(points, doubts)
    posed, _ = view_of(pose, view)
    px = project(posed.K, posed.world_to_camera, table[XYZ].to_numpy(float))
    shown = inside(px, (posed.height_px, posed.width_px))
    found = pd.DataFrame({"landmark": table["landmark"], "x_px": px[:, 0], "y_px": px[:, 1],
                          "in_image": shown & np.isfinite(px).all(axis=1)})  # fmt: skip
    with atomic(out) as partial:
        found.to_csv(partial, index=False, float_format="%.3f", lineterminator="\n")
    print(f"{out}: {int(found['in_image'].sum())} of {len(found)} points in the image")


def _pair(option: str, text: str | None) -> tuple[float, float] | None:
    """Read two numbers with a comma between them."""
    from raymark.core.errors import InputError

    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(option, f"{text!r} is not two numbers", "Write e.g. 90,0") from None
    return first, second
