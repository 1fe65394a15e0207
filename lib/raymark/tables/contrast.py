"""The contrast of bone, kilovoltage against megavoltage, as measured and as tabulated."""

import pandas as pd

from raymark import layout
from raymark.config.project import Project
from raymark.core.stored_tables import stored_table
from raymark.tables.base import Column, Table, TableRecord, chapter_of_setup

BEAMS = ("kv", "mv")


def table(project: Project, measured: pd.DataFrame) -> Table:
    """Every quantity by beam and as their ratio, each beside what published coefficients give.

    `measured` has quantity, n, and for kv and mv a column of the simulation's and one `_tabulated`.
    """
    ratio = {f"ratio{of}": measured[f"kv{of}"] / measured[f"mv{of}"] for of in ("", "_tabulated")}
    frame = measured.assign(**ratio)
    frame["deviation"] = frame["ratio"] / frame["ratio_tabulated"] - 1
    named = project.contrast
    titles = {"kv": project.title_of(named.kv), "mv": project.title_of(named.mv)}
    columns = [Column("quantity", "Quantity")]
    for beam in BEAMS:
        columns += [
            Column(beam, titles[beam], digits=3),
            Column(f"{beam}_tabulated", f"{titles[beam]}, tabulated", digits=3),
        ]
    columns += [
        Column("ratio", "kV / MV", digits=2),
        Column("ratio_tabulated", "kV / MV, tabulated", digits=2),
        Column("deviation", "Deviation of the ratio", "%", 1, 100),
        Column("n", "Pixels", digits=0),
    ]
    notes = [
        f"Tabulated: the same quantity from published coefficients, {named.tabulated} (Hubbell and "
        "Seltzer, NISTIR 5632, ICRU-44 tissues), by Beer and Lambert's law over the beam; the other "
        "columns are the simulation's own coefficients and its noiseless images.",
        "μ: linear attenuation of cortical bone (1.92 g/cm³) and soft tissue (1.06 g/cm³), weighted "
        "by the energy that the detector adds up. A contrast is a difference of −ln(signal).",
        "Patient: rays through at least 5 mm of solid bone, each against the nearest ray through at "
        "most 1 mm, in place and in thickness of tissue, no farther than 20 mm; its tabulated value "
        "is the law for what the same rays pass. Bone is what is as dense as bone in the CT and lies "
        "in a bone's label. What is as dense elsewhere, such as vessels full of contrast agent, is "
        "none: neither ray passes more than 1 mm of it, nor any metal. *By HU alone*: the patient has "
        "no labels of bones, and contrast agent counts as bone. Pixels near each other are not "
        "independent: no interval is given.",
        "Scatter and detector blur, which lower contrast further, are not simulated.",
    ]
    title = "Contrast of bone, kilovoltage against megavoltage"
    return Table(title, frame, columns, project.scale, notes)


def _files(project: Project) -> list[str]:
    return [layout.CONTRAST]


def _make(project: Project) -> Table:
    again = "Make it again with raymark contrast"
    numbers = [f"{beam}{of}" for beam in BEAMS for of in ("", "_tabulated")]
    [file] = _files(project)
    measured = stored_table(file, "a table of contrasts", again, ["quantity", "n"], numbers)
    return table(project, measured)


TABLE = TableRecord(
    about="contrast of bone in kV and 6 MV, measured and tabulated (LandmarkNet)",
    caption="How much bone stands out, kilovoltage against megavoltage: as simulated, and from "
    "published coefficients.",
    needs=_files,
    make=_make,
    asked=lambda project: project.config.contrast is not None,
    chapter=chapter_of_setup,
)
