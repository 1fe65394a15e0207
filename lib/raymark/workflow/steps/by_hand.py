"""What a user calls by hand: on files of his own, or to look after a run."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from raymark.workflow.steps.arguments import ModelFile

if TYPE_CHECKING:
    from raymark.config.project import Project


def predict(
    images: Annotated[
        list[str],
        Argument(
            help="an X-ray, a folder of them, or a CSV table that lists them", metavar="IMAGE"
        ),
    ],
    model: Annotated[str, Option(help="a model.safetensors", show_default=False)],
    out: Annotated[str, Option(help="folder to write to")] = "predicted",
    pixel_mm: Annotated[
        float | None,
        Option(help="pixel size at the detector, of all these images", show_default=False),
    ] = None,
    invert: Annotated[
        bool, Option("--invert", help="the images show bone dark: turn them bright")
    ] = False,
    frame: Annotated[
        int | None, Option(help="which frame of a series, from 1", show_default=False)
    ] = None,
    also: Annotated[
        list[str] | None,
        Option(
            help="write the points as labelme, labelstudio or sr (DICOM) too; may be repeated",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Find landmarks in X-ray images of your own.

    Takes DICOM, PNG, TIFF, JPEG, NIfTI or MetaImage files, bone bright; a table has the columns image,
    pixel_mm, frame. Writes each image's points as
    CSV and for 3D Slicer, and a picture of them. An image is brought to the pixel size of the training
    images; where its file does not tell its own, it is taken to show as much as they do. See
    docs/detection.md.
    """
    from raymark.core.errors import named
    from raymark.detection.on_files import predict_images
    from raymark.exports import besides

    known = besides() if also else {}
    writers = [named(known, name, "--also") for name in dict.fromkeys(also or ())]
    predict_images(model, images, out, pixel_mm, invert, frame, writers)


def match_cts(
    first: Annotated[str, Argument(help="a CT: DICOM, NIfTI, NRRD, MHA", metavar="FIRST")],
    second: Annotated[str, Argument(help="another CT of the same patient", metavar="SECOND")],
    model: Annotated[
        str, Option(help="the model.safetensors of the correspondences", show_default=False)
    ],
    out: Annotated[str, Option(help="folder to write to")] = "matched",
    slices: Annotated[
        int | None, Option(help="how many, evenly spread; without it, all", show_default=False)
    ] = None,
) -> None:
    """Find corresponding landmarks in two CTs of one patient.

    Aligns the second CT to the first by an affine map, then matches axial slices. Writes matches.csv
    (pixels of 1 mm, and world RAS mm in each CT) and a picture.
    """
    from raymark.correspondence.follow_up import match_follow_up

    matches = match_follow_up(model, first, second, out, slices)
    print(f"{len(matches)} matches on {matches['slice_mm'].nunique()} slices: {out}/matches.csv")


def export(
    model: ModelFile,
    out: Annotated[str, Argument(help="the file to write, e.g. model.onnx", metavar="OUT")],
) -> None:
    """Write a trained model as ONNX.

    Network, standardisation and decoder become one file: grey image at the model's pixel size in, points
    in px and confidence out; the metadata name the landmarks.
    """
    from raymark.detection.onnx_file import export_onnx

    print(f"{out}: takes {export_onnx(model, out)}")


def export_data(
    project: "Project",
    dataset: Annotated[str, Option(help="name of a data set", show_default=False)],
    view_set: Annotated[str, Option(help="name of one of its view sets", show_default=False)],
    format: Annotated[
        str,
        Option(
            help="coco, json, dicom, nnlandmark, labelme or labelstudio",
            show_default=False,
        ),
    ],
    out: Annotated[str, Option(help="a folder that is not there yet", show_default=False)],
    method: Annotated[
        str | None,
        Option(help="whose predictions to correct in labelme, labelstudio", show_default=False),
    ] = None,
    seed: Annotated[int, Option(help="seed of its training", min=0)] = 0,
) -> None:
    """Write a view set in the form of another tool.

    COCO keypoints with 16-bit images; JSON of camera, physics and points; DICOM; nnLandmark's layout of the
    CTs; predictions to correct in labelme or Label Studio. See docs/exports.md.
    """
    from raymark.exports import export_view_set
    from raymark.exports.base import Source

    source = Source(project, dataset, view_set, method, seed)
    count = export_view_set(source, format, out)
    print(
        f"{out}: {count} {'CTs' if format == 'nnlandmark' else 'images'} of {dataset}, {view_set}"
    )


def progress(
    log: Annotated[
        str | None,
        Argument(help="a log of Snakemake; without it, the newest run's", show_default=False),
    ] = None,
) -> None:
    """Tell what a run has done, is doing since when, and has left.

    Here or on a cluster; run it in the folder the workflow was started in.
    """
    from datetime import datetime

    from raymark.workflow.run_log import newest_log, progress, read_run

    print(progress(read_run(log or newest_log()), datetime.now()))


def why(
    result: Annotated[str, Argument(help="a file below results/", metavar="RESULT")],
    configfile: Annotated[
        str | None,
        Option(help="the main file that Snakemake is given", show_default=False),
    ] = None,
) -> None:
    """Tell in a line why a result is out of date.

    Follows Snakemake's reasons back to the setting, file or code that changed; runs nothing.
    """
    from raymark.workflow.reasons import why

    print(why(result, ["--configfile", configfile] if configfile else []))


def check(
    folder: Annotated[str, Argument(help="a folder, or one file")] = "results",
    delete: Annotated[
        bool,
        Option("--delete", help="delete the damaged, and tell the command that makes them anew"),
    ] = False,
) -> None:
    """Read every byte of shards, models and tables and tell which are damaged.

    Verifies the checksums of every shard, model and Parquet table. Exit status 1 if one is damaged, or
    if there is none.
    """
    from raymark.core.errors import InputError
    from raymark.workflow.integrity import damage, files_to_check, made_again_by

    paths, damaged = files_to_check(folder), []
    for path, error in damage(paths):
        damaged.append(path)
        print(error)
        if delete:
            path.unlink()
    print(f"{len(paths)} files, {len(damaged)} damaged{' and deleted' * bool(delete and damaged)}")
    if damaged and delete:
        print(f"They are made again by: {made_again_by(damaged)}")
    elif damaged:
        raise InputError(damaged[0], "is damaged", "Delete the damaged: raymark check --delete")


def schemas(root: Annotated[str, Argument(help="the project's folder")] = ".") -> None:
    """Write the configuration's JSON schemas and its reference, config/README.md."""
    from raymark.workflow.config_reference import write_reference

    write_reference(root)
