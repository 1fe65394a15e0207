"""Steps that make what people look at, and those a user calls by hand."""

from raymark import layout
from raymark.config.project import read_project
from raymark.config.subjects import read_subjects
from raymark.core.errors import InputError, named


def table(config: str, table: str) -> None:
    from raymark.tables import TABLES, make_table, write_table

    named(TABLES, table, "table")
    stem = layout.TABLE.format(table=table, format="csv").removesuffix(".csv")
    write_table(make_table(table, read_project(config)), stem)


def figure(config: str, figure: str) -> None:
    from raymark.datasets.available import only_present
    from raymark.figures import make_figure

    project = read_project(config)
    stem = layout.FIGURE.format(figure=figure, format="svg").removesuffix(".svg")
    make_figure(figure, only_present(project, read_subjects(project.config.subjects)), stem)


def predict(
    model_path: str, image_paths: list[str], out_dir: str, pixel_mm: float | None, invert: bool
) -> None:
    from raymark.detection.on_files import predict_images

    predict_images(model_path, image_paths, out_dir, pixel_mm, invert)


def match_cts(
    model_path: str, first_path: str, second_path: str, out_dir: str, slice_count: int | None
) -> None:
    from raymark.correspondence.follow_up import match_follow_up

    matches = match_follow_up(model_path, first_path, second_path, out_dir, slice_count)
    print(
        f"{len(matches)} matches on {matches['slice_mm'].nunique()} slices: {out_dir}/matches.csv"
    )


def export(model_path: str, out_path: str) -> None:
    from raymark.detection.onnx_file import export_onnx

    print(f"{out_path}: takes {export_onnx(model_path, out_path)}")


def progress(log: str | None) -> None:
    from datetime import datetime

    from raymark.workflow.run_log import newest_log, progress, read_run

    print(progress(read_run(log or newest_log()), datetime.now()))


def check(folder: str, delete: bool) -> None:
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


def schemas(root: str) -> None:
    from raymark.workflow.config_reference import write_reference

    write_reference(root)
