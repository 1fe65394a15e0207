"""Draw docs/geometry.svg: the patient, the C-arm and the image in three panels.

Run `python docs/make_geometry_figure.py`. `raymark.geometry.camera` itself places the C-arms and the marks
in the image, so that the picture cannot disagree with the code.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Ellipse, FancyBboxPatch, Rectangle

from raymark.core.files import atomic
from raymark.geometry.camera import Camera, Detector, carm_camera

BLUE, ORANGE, GREY, BODY = "#0072B2", "#D55E00", "#707070", "#ececec"
SOURCE_TO_ISOCENTRE_MM, SOURCE_TO_DETECTOR_MM = 700.0, 1100.0
DETECTOR = Detector(height_px=8, width_px=10, pixel_mm=40.0)
TURN_DEG = 35
FROM_THE_FEET = np.array([[-1.0, 0, 0], [0, 1.0, 0]])  # page right, page up in world axes
FROM_THE_LEFT = np.array([[0, 0, 1.0], [0, 1.0, 0]])


def view(primary_deg: float = 0, secondary_deg: float = 0, detector: Detector = DETECTOR) -> Camera:
    return carm_camera(
        detector,
        primary_deg=primary_deg,
        secondary_deg=secondary_deg,
        isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=SOURCE_TO_ISOCENTRE_MM,
        source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
    )


def arrow(axes, start, end, color="black", width=1.2):
    style = {"arrowstyle": "-|>", "color": color, "lw": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style, zorder=4)


def draw_c_arm(axes, camera: Camera, to_page: np.ndarray, along_detector: np.ndarray, color: str):
    """Draw source, beam and detector; `along_detector` (3,) is the detector's half width in mm."""
    rotation = camera.world_to_camera[:3, :3]
    source = camera.source_world_mm
    middle = source + SOURCE_TO_DETECTOR_MM * rotation[2]
    ends = np.stack([middle - rotation.T @ along_detector, middle + rotation.T @ along_detector])
    source, middle, ends = to_page @ source, to_page @ middle, ends @ to_page.T
    axes.fill(*np.vstack([source, ends]).T, color=color, alpha=0.07, lw=0)
    axes.plot(*ends.T, color=color, lw=6, solid_capstyle="butt")
    arrow(axes, source, middle, color)
    axes.add_patch(Circle(source, 26, color=color, zorder=5))
    return source, middle


def draw_machine_panel(axes, title, to_page, turned: Camera, along_detector, angle_name, ends):
    """Draw the C-arm at rest (blue) and turned (orange) about a patient lying on the back."""
    axes.set(xlim=(-620, 620), ylim=(-780, 560), aspect="equal")
    axes.axis("off")
    axes.set_title(title)
    draw_c_arm(axes, turned, to_page, along_detector, ORANGE)
    source, middle = draw_c_arm(axes, view(), to_page, along_detector, BLUE)
    axes.text(source[0] - 50, source[1], "source", color=BLUE, ha="right", va="center")
    axes.text(middle[0] - 20, middle[1] + 30, "detector", color=BLUE, ha="center", va="bottom")
    axes.add_patch(Arc((0, 0), 660, 660, theta1=90 - TURN_DEG, theta2=90, color=ORANGE, lw=1.4))
    tip, before = (
        330 * np.array([np.cos(a), np.sin(a)]) for a in np.deg2rad([90 - TURN_DEG, 92 - TURN_DEG])
    )
    arrow(axes, before, tip, ORANGE)
    axes.text(290, 440, angle_name, color=ORANGE, ha="left", va="center")
    for x, name in zip((-560, 560), ends, strict=True):
        axes.text(x, -10, name, ha="center", va="center")


def draw_world_axes(axes, to_page, origin, names):
    """Draw those world axes that lie in the page, 170 mm long."""
    for world_axis, name in names.items():
        end = origin + 170 * to_page[:, world_axis]
        arrow(axes, origin, end)
        gap = 95 if to_page[0, world_axis] else 45
        axes.text(*(end + gap * to_page[:, world_axis]), name, ha="center", va="center")


def draw_image_panel(axes):
    """Draw the AP image: pixels, K's axes, the camera's axes and where left and head appear."""
    camera = view()
    height, width = camera.shape_yx
    axes.set(xlim=(-2.6, width + 1.2), ylim=(height + 1.2, -1.8), aspect="equal")
    axes.axis("off")
    axes.set_title("The image at (0°, 0°), as displayed")
    for row in range(height):
        for column in range(width):
            axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fc="none", ec="#d0d0d0", lw=0.6)
            )
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fc="none", ec="black"))
    axes.plot(0, 0, "o", color="black", ms=4)
    axes.text(0.35, 0, "(0, 0)", ha="left", va="center")
    arrow(axes, (0, -1), (2.2, -1))
    axes.text(2.4, -1, "x, column", ha="left", va="center")
    arrow(axes, (-1, 0), (-1, 2.2))
    axes.text(-1, 2.5, "y, row", ha="center", va="top", rotation=90)
    isocentre, left, head = camera.project(65 * np.array([[0, 0, 0], [-1, 0, 0], [0, 0, 1]]))
    axes.plot(*isocentre, "+", color=BLUE, ms=11, mew=1.6)
    arrow(axes, isocentre, left, GREY)
    arrow(axes, isocentre, head, GREY)
    axes.text(left[0] + 0.2, left[1], "left", color=GREY, ha="left", va="center")
    axes.text(head[0], head[1] - 0.2, "head", color=GREY, ha="center", va="bottom")
    right, down = isocentre - (2.5, 0), isocentre - (0, -2.5)
    arrow(axes, isocentre, right, BLUE)
    arrow(axes, isocentre, down, BLUE)
    axes.text(right[0] - 0.15, right[1], "camera x", color=BLUE, ha="right", va="center")
    axes.text(down[0] + 0.2, down[1], "camera y", color=BLUE, ha="left", va="center")
    axes.text(
        isocentre[0] + 0.3, isocentre[1] + 0.55, "z to you", color=BLUE, ha="left", va="center"
    )
    axes.text((width - 1) / 2, height + 0.2, "K[0, 0] = −f; flipped: +f", ha="center", va="center")


def draw() -> Figure:
    matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "svg.hashsalt": "geometry"})
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    axial, sagittal, image = figure.subplots(1, 3)

    axial.add_patch(Ellipse((0, 0), 400, 230, fc=BODY, ec=GREY))
    axial.add_patch(Circle((0, -62), 30, fc="white", ec=GREY))
    draw_machine_panel(
        axial,
        "Seen from the feet",
        FROM_THE_FEET,
        view(primary_deg=TURN_DEG),
        np.array([DETECTOR.width_px / 2 * DETECTOR.pixel_mm, 0, 0]),
        "primary > 0:\nLAO",
        ("patient's\nright", "patient's\nleft"),
    )
    draw_world_axes(axial, FROM_THE_FEET, np.array([560.0, -620.0]), {0: "x: right", 1: "y: front"})

    sagittal.add_patch(
        FancyBboxPatch((-430, -100), 640, 200, "round,rounding_size=70", fc=BODY, ec=GREY)
    )
    sagittal.add_patch(Circle((300, 0), 92, fc=BODY, ec=GREY))
    draw_machine_panel(
        sagittal,
        "Seen from the patient's left",
        FROM_THE_LEFT,
        view(secondary_deg=TURN_DEG),
        np.array([0, DETECTOR.height_px / 2 * DETECTOR.pixel_mm, 0]),
        "secondary > 0:\ncranial",
        ("feet", "head"),
    )
    draw_world_axes(
        sagittal, FROM_THE_LEFT, np.array([200.0, -620.0]), {2: "z: head", 1: "y: front"}
    )
    draw_image_panel(image)

    return figure


if __name__ == "__main__":
    with atomic(Path(__file__).with_name("geometry.svg")) as partial:
        draw().savefig(partial, metadata={"Date": None})
