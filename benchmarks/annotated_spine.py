"""Real spine X-rays: angles and landmarks beside two constants and what is published.

snakemake --cores 2 --configfile config/annotated_spine.yaml
python benchmarks/annotated_spine.py --out docs/measurements/annotated_spine.md
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from measurement import markdown_table, output_argument, report

from raymark import layout
from raymark.config.papers import read_paper
from raymark.config.presets import merged
from raymark.config.project import project_of
from raymark.config.results import Evaluation
from raymark.core.seeds import generator
from raymark.core.yaml_files import read_yaml
from raymark.datasets.imported import read_imported
from raymark.datasets.shards import Shards
from raymark.evaluation.errors import MEAN_POSITION, read_errors, truth_of
from raymark.metrics.bootstrap import interval
from raymark.metrics.cobb import (
    ANGLES,
    cobb_angles,
    cobb_by_view,
    corner_names,
    smape_percent,
    true_columns,
)
from raymark.metrics.errors import success_rate
from raymark.metrics.members import members_by_view
from raymark.metrics.points import TRUE, points_by_view
from raymark.metrics.ratio import Ratio
from raymark.tables._rows import clusters
from raymark.tables.sdr import SDR_MM

CONFIG = "config/annotated_spine.yaml"
BASE = "config/config.yaml"
VIEW_SET = "test"
COMMAND = f"snakemake --cores 2 --configfile {CONFIG}"


@dataclass(eq=False)
class Found:
    """What one row of the tables rests on, by test image (n,), sorted by view."""

    title: str
    smape: Ratio
    errors_deg: np.ndarray


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    project = project_of(merged(read_yaml(BASE), read_yaml(CONFIG)), CONFIG)
    (settings,) = project.imports.values()
    how = project.config.evaluation
    place = {"dataset": settings.name, "seed": 0, "view_set": VIEW_SET}
    titles = {name: method.title for name, method in project.methods.items()}
    methods = {
        n: t for n, t in titles.items() if Path(layout.ERRORS.format(**place, method=n)).exists()
    }
    tables = {
        name: read_errors([layout.ERRORS.format(**place, method=name)])
        for name in [*methods, MEAN_POSITION]
    }
    angles = {
        name: cobb_by_view(table, corner_names(), settings.height_px)
        for name, table in tables.items()
    }
    training_deg = training_angles(settings)
    rows = angle_rows(methods, angles, training_deg, how)
    patients = angles[MEAN_POSITION]["patient"].nunique()
    images = len(angles[MEAN_POSITION])
    text = "\n\n".join(
        [
            f"**One fold of {settings.split.folds}, one seed, reduced scale.** The public AP spine "
            f"X-rays at {settings.height_px} × {settings.width_px} px, which the patches look at; the "
            "chain sees half of that height, the other networks a quarter; all are narrower than "
            f"published ones (preset `reduced`). Trained on {len(training_deg)} images, "
            f"{len(settings.not_trained_on)} of all {listed(settings)} left out of training for faults "
            f"of their labels (`not_trained_on`); {images} images of {patients} other patients to test "
            "on, faults and all. Settings and weights were chosen on the validation fold alone. The "
            "paper selected 57 test images with consistent annotations, so that its figures are of an "
            "easier set. The appearance-context network's points are the centres of its maps' squares "
            "(`read_off: centre`), which gave better angles than the maxima on the validation images; "
            "that choice was made when the test images had been evaluated once, with the maxima.",
            f"Made by `{COMMAND}`.{not_run(titles, methods)}",
            "## What it took\n\n" + markdown_table(training_rows(settings.name, methods)),
            "`epochs` is of how many, and from which of them the weights are: the least validation "
            "loss. Each training has one thread; the patches begin when the chain is trained.",
            f"## Landmarks: share within a distance, % ({interval_said(how)})\n\n"
            + markdown_table(landmark_rows(methods, tables, how)),
            "mm of the patient by 35 mm between L4 and L5, image by image; a pixel has "
            f"{pixel_mm(settings.name):.1f} mm in the median image. Images whose L4 and L5 are marked in "
            "nearly the same place have mm that mean little; they count.",
            "## Vertebrae taken for their neighbours\n\n"
            + markdown_table(member_rows(settings, methods, tables)),
            "A vertebra is where the mean of its four corners is; it is on itself where no other true "
            "one is nearer. px are of images 512 high.",
            "## Cobb angles\n\nSMAPE in % as the AASCE challenge defines it, "
            f"{interval_said(how)}; *less than* are paired differences on the same images; errors "
            "are mean absolute differences in degrees. The mean shape and the mean angles, of the "
            "training images, look at no image.",
        ]
    )
    report("Real spine X-rays", text, rows, ["torch", "snakemake"], out)


def not_run(titles: dict, methods: dict) -> str:
    """Say which methods of the configuration have no results here."""
    missing = [title for name, title in titles.items() if name not in methods]
    return f" Not run for this page: {', '.join(missing)}." if missing else ""


def interval_said(how: Evaluation) -> str:
    return (
        f"{100 * how.confidence:g} % interval: bootstrap over patients, {how.bootstrap} resamplings"
    )


def listed(settings) -> int:
    """Return how many images there are, those that are left out too."""
    return len(settings.annotations.read(None)[1])


def member_rows(settings, methods: dict, tables: dict) -> list[dict]:
    """Say how often vertebrae are on themselves, and how far off their corners are then."""
    names = corner_names()
    chain = [names[n : n + 4] for n in range(0, len(names), 4)]
    member_of = {name: number for number, member in enumerate(chain) for name in member}
    rows = []
    for name, title in {**methods, MEAN_POSITION: "Mean shape"}.items():
        seen = tables[name][tables[name]["visible"]]
        seen = seen.assign(member=seen["landmark"].map(member_of), seed=0)
        off = members_by_view(seen, chain)
        right = seen.merge(off[off["off"] == 0], on=["seed", "view", "member"])
        px = 512 / settings.height_px * right["error_px"]
        whole = off.groupby("view")["off"].agg(lambda o: (o == 0).all())
        rows.append(
            {
                "method": title,
                "on itself, %": f"{100 * (off['off'] == 0).mean():.1f}",
                "on a neighbour, %": f"{100 * (off['off'].abs() == 1).mean():.1f}",
                "images with all on themselves, %": f"{100 * whole.mean():.1f}",
                "MRE of those on themselves, px": f"{px.mean():.1f}",
                "median, px": f"{px.median():.1f}",
                "MRE of all, px": f"{512 / settings.height_px * seen['error_px'].mean():.1f}",
            }
        )
    return rows


def pixel_mm(dataset: str) -> float:
    """Return the median over all images of the size of a pixel as trained on."""
    images = pd.read_csv(layout.IMPORTED_IMAGES.format(dataset=dataset))
    return float(images["pixel_mm"].median())


def training_angles(settings) -> np.ndarray:
    """Return the angles (image, 3) of the training images."""
    truth = truth_of(Shards(read_imported(settings.name).view_sets["train"].shards))
    _, points_px = points_by_view(truth.assign(instance=0), corner_names(), TRUE)
    return cobb_angles(points_px.reshape(len(points_px), -1, 4, 2), settings.height_px)


def angle_rows(
    methods: dict, angles: dict, training_deg: np.ndarray, how: Evaluation
) -> list[dict]:
    some = angles[MEAN_POSITION]
    truth_deg = some[true_columns()].to_numpy()

    def found(title: str, angles_deg: np.ndarray) -> Found:
        return Found(title, smape_percent(angles_deg, truth_deg), np.abs(angles_deg - truth_deg))

    constant = found("Mean angles", np.broadcast_to(training_deg.mean(axis=0), truth_deg.shape))
    of_all = {name: angles[name][list(ANGLES)].to_numpy() for name in [*methods, MEAN_POSITION]}
    shape = found("Mean shape", of_all[MEAN_POSITION])
    rows = []
    for line in [*(found(methods[name], of_all[name]) for name in methods), shape, constant]:
        row = {"method": line.title, "SMAPE": said(line.smape, some, how)}
        for baseline in (shape, constant):
            gain = baseline.smape.numerator_n - line.smape.numerator_n
            row[f"less than {baseline.title.lower()}"] = (
                ""
                if line in (shape, constant)
                else said(Ratio(gain, np.ones(len(gain))), some, how)
            )
        for angle, error in zip(ANGLES, line.errors_deg.mean(axis=0), strict=True):
            row[f"{angle.removesuffix('_deg').upper()} error"] = f"{error:.1f}"
        rows.append(row | {"images": len(some)})
    return rows + published_rows("cobb", list(rows[0]), {"smape": "SMAPE"})


def landmark_rows(methods: dict, tables: dict, how: Evaluation) -> list[dict]:
    rows = []
    for name, title in {**methods, MEAN_POSITION: "Mean shape"}.items():
        seen = tables[name][tables[name]["visible"]]
        row = {"method": title}
        for threshold in SDR_MM:
            share = success_rate(seen["error_isocentre_mm"].to_numpy(), threshold)
            row[f"{threshold} mm"] = said(
                Ratio(100 * share.numerator_n, share.denominator_n), seen, how
            )
        rows.append(row | {"images": seen["view"].nunique()})
    keys = {f"sdr_{threshold}_isocentre_mm": f"{threshold} mm" for threshold in SDR_MM}
    return rows + published_rows("sdr", list(rows[0]), keys)


def published_rows(table: str, columns: list[str], keys: dict[str, str]) -> list[dict]:
    """List the paper's rows of a table with the same columns, shares as percentages."""
    paper = read_paper("appearance_context")
    rows = []
    for published in paper.rows:
        if published.table != table:
            continue
        row = dict.fromkeys(columns, "") | {"method": f"{published.title}, published"}
        row["images"] = published.test_images or ""
        row |= {column: f"{100 * published.values[key]:.2f}" for key, column in keys.items()}
        rows.append(row)
    return rows


def training_rows(dataset: str, methods: dict) -> list[dict]:
    rows = []
    for name, title in methods.items():
        losses = pd.read_csv(layout.LOSSES.format(dataset=dataset, method=name, seed=0))
        cost = pd.read_csv(f"results/benchmarks/train/{dataset}/{name}/0.tsv", sep="\t").iloc[-1]
        best = losses.loc[losses["validation_loss"].idxmin(), "epoch"]
        rows.append(
            {
                "method": title,
                "epochs": f"{len(losses)}, weights of {best}",
                "wall time, min": f"{cost['s'] / 60:.1f}",
                "processor time, min": f"{cost['cpu_time'] / 60:.1f}",
                "memory, MB": f"{cost['max_pss']:.0f}",
            }
        )
    return rows


def said(metric: Ratio, rows: pd.DataFrame, how: Evaluation) -> str:
    """Print a metric over rows that have patient, subject and view with its interval over patients."""
    low, high = interval(
        metric,
        clusters(rows),
        resamplings=how.bootstrap,
        confidence=how.confidence,
        rng=generator("bootstrap"),
    )
    return f"{metric.value:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
