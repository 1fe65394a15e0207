"""Estimate the GPU-hours of the papers' trainings: arithmetic counted, speed of the card assumed.

python benchmarks/gpu_hours.py --out docs/measurements/gpu_hours.md
"""

import numpy as np
import torch
from measurement import output_argument, rendered_per_core_s, report
from torch.utils.flop_counter import FlopCounterMode

from raymark.config.dataset import Dataset
from raymark.config.method import Method
from raymark.config.presets import merged
from raymark.config.project import project_of
from raymark.core.yaml_files import read_yaml
from raymark.landmarks.table import read_landmark_set
from raymark.methods.base import Batch, build, standardised

PEAK_TFLOPS, CARD = 312, "NVIDIA A100 (data sheet: 312 TFLOPS, bfloat16, dense)"
SUSTAINED = 0.3  # of the peak: assumed, not measured
MEASURED_PX = 479 * 615  # of the views that rendering was timed with
CTS = {"pelvis": 18, "pelvis_six_dof": 80}  # that the papers train on (config/paper.yaml)
IMAGES = {  # that the papers train on, where they tell no number of CTs (config/paper.yaml)
    "chest_kv": round(0.65 * 8054),
    "chest_mv": round(0.65 * 8054),
    "spine_ap": 281,
    "cephalometric_2015": 150,
}
ABOUT = f"""**Estimate, not measured.** Counted: the floating-point operations of matrix products and
convolutions of one training step on one image, forward, loss and backward, by torch's own counter, for
the networks of the preset `paper`; a multiplication and an addition are two. Assumed: one
{CARD} sustains {SUSTAINED:.0%} of its peak;
trainings with one image a step, small networks and slow storage reach less. Not counted: validation,
augmentation, the solver of the pose loss, what is no product or convolution. Training images are
the training views of each CT (config/datasets) times the paper's CTs, or the images the paper states
(config/paper.yaml); epochs are the papers' (config/methods), all of them where a training may stop early.
Core-hours of rendering these images: from the measured {{rate:.1f}} views/s of one core at 479×615 px, by
the number of pixels; – where images are imported."""


def one_view(shape_yx: tuple[int, int], landmarks: int) -> Batch:
    """Return a view of random points on noise; the amount of arithmetic does not depend on it."""
    random = np.random.default_rng(0)
    world = random.uniform(-80, 80, (1, landmarks, 3))
    K = np.array([[2000, 0, shape_yx[1] / 2], [0, 2000, shape_yx[0] / 2], [0, 0, 1]])
    camera = np.eye(4)
    camera[2, 3] = 750
    seen = (world + camera[:3, 3]) @ K.T
    return Batch(
        image=standardised(torch.as_tensor(random.normal(size=(1, 1, *shape_yx))).float()),
        landmarks=torch.as_tensor(seen[..., :2] / seen[..., 2:]).float(),
        visible=torch.ones(1, landmarks, dtype=torch.bool),
        K=torch.as_tensor(K)[None],
        world_to_camera=torch.as_tensor(camera)[None],
        landmarks_world=torch.as_tensor(world),
    )


def flops_per_image(method: Method, shape_yx: tuple[int, int], landmarks: int) -> int:
    """Count the floating-point operations of a training step on one image."""
    network = build(method.module, method.network, landmarks, 0, method.name)
    batch = one_view(shape_yx, landmarks)
    with FlopCounterMode(display=False) as counter:
        network.loss(network(batch.image), batch)[0].backward()
    return counter.get_total_flops()


def images_per_gpu_s(flops: int) -> float:
    return PEAK_TFLOPS * 1e12 * SUSTAINED / flops


def training_images(name: str, rendered: Dataset | None) -> int:
    """Return how many images the paper's training on this data set has, all view sets together."""
    if name not in CTS:
        return IMAGES[name]
    view_sets = rendered.view_sets.values()
    return CTS[name] * sum(v.sampling.count for v in view_sets if v.role == "train")


def rows() -> list[dict]:
    """Return a row for each training of config/config.yaml that a paper has."""
    values = merged(read_yaml("config/config.yaml"), read_yaml("config/paper.yaml"))
    project = project_of(values, "config")
    found = []
    for experiment in project.config.experiments:
        if experiment.dataset not in CTS | IMAGES:
            continue
        method = project.methods[experiment.method]
        rendered = project.datasets.get(experiment.dataset)
        images = training_images(experiment.dataset, rendered)
        if rendered:
            size = rendered.detector
            names = rendered.use_landmarks or read_landmark_set(rendered.landmarks).names
        else:
            size = project.imports[experiment.dataset]
            names = size.known_landmarks
        flops = flops_per_image(method, (size.height_px, size.width_px), len(names))
        hours = images * method.training.epochs / images_per_gpu_s(flops) / 3600
        view_s = size.height_px * size.width_px / MEASURED_PX / rendered_per_core_s()
        found.append(
            {
                "data set": experiment.dataset,
                "method": experiment.method,
                "image, px": f"{size.height_px} × {size.width_px}",
                "training images": f"{images:,}",
                "epochs": f"{method.training.epochs:,}",
                "GFLOP per image": f"{flops / 1e9:,.0f}",
                "training, GPU-hours (estimate)": f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}",
                "rendering, core-hours": f"{images * view_s / 3600:.2f}" if rendered else "–",
            }
        )
    return found


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    report("GPU-hours of the papers' trainings", ABOUT.format(rate=rendered_per_core_s()), rows(),
           ["torch"], out)  # fmt: skip


if __name__ == "__main__":
    main()
