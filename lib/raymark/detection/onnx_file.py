"""A trained model as one ONNX file: grey image in, landmarks out, for programs without PyTorch."""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from raymark.core.errors import InputError
from raymark.core.files import atomic
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.training.model_files import Model, load_model

OPSET = 18
# Which of the image's axes may vary, the freest first: some networks need to know their image's size.
FREEDOM = {
    "any number of images of any size": (0, 2, 3),
    "any number of images of the training images' size": (0,),
    "one image of the training images' size": (),
}


class Detector(nn.Module):
    """Grey values in, points out: a network with the standardisation before and the decoder behind.

    `forward` maps images (b, 1, y, x) to points (b, landmark, 2), image px as (x, y), and their
    confidence (b, landmark) from 0 to 1.
    """

    def __init__(self, network: LandmarkNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        points_px, confidence = self.network.decode(self.network(standardised(image)))
        return points_px.float(), confidence.float().clamp(0, 1)


def export_onnx(model_path: str | Path, out_path: str | Path) -> str:
    """Write a model as one ONNX file; return, in words, which images it takes.

    Input `image`, float32 (batch, 1, y, x), bone bright, at the model's pixel pitch; outputs
    `points_px` and `confidence` as `Detector` gives them. The file's metadata say this too:
    `landmarks` (JSON list), `pixel_mm`, `detection_threshold`, `images`, `image_height_px`,
    `image_width_px`, `method`. Raises InputError if the exporter cannot express the network.
    """
    network, model = load_model(model_path)
    shape_yx = model.image_height_px, model.image_width_px
    example = torch.linspace(0, 1, 2 * shape_yx[0] * shape_yx[1]).reshape(2, 1, *shape_yx)
    for images, axes in FREEDOM.items():
        program = _program(Detector(network), example if axes else example[:1], axes)
        if program is not None:
            program.model.metadata_props.update(_metadata(model, images))
            with atomic(out_path) as partial:
                program.save(partial, external_data=False)
            return images
    problem = f"the method {model.method!r} has operations that ONNX does not know"
    raise InputError(
        model_path, problem, "Use it through raymark predict, or export another method"
    )


def _program(
    detector: Detector, example: Tensor, free_axes: tuple[int, ...]
) -> torch.onnx.ONNXProgram | None:
    """Return the ONNX program, or None if it cannot be made with these axes free."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, about itself
            return torch.onnx.export(
                detector.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["points_px", "confidence"],
                dynamic_shapes={"image": dict.fromkeys(free_axes, Dim.DYNAMIC)},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError:
        return None


def _metadata(model: Model, images: str) -> dict[str, str]:
    names = ["method", "pixel_mm", "detection_threshold", "image_height_px", "image_width_px"]
    values = {name: json.dumps(getattr(model, name)) for name in names}
    return values | {"landmarks": json.dumps(model.landmarks), "images": images}
