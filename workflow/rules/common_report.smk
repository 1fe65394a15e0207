# What the rules of tables and figures take in, and where in the report they belong.

from raymark import figures
from raymark.tables import PUBLISHES, table_names


def every_quality_row():
    """List the quality rows of all real subjects, data set by data set."""
    return sorted(
        {
            layout.QUALITY.format(dataset=dataset, subject=parent_of(subject))
            for dataset in PROJECT.datasets
            for subject in every_subject(dataset)
        }
    )


def shown_settings():
    """Return what tables and figures print that none of the files they are made from holds."""
    sections = {"preset", "evaluation", "matrix", "pose", "setup", "contrast"}
    titles = [PROJECT.title_of(name) for name in (*PROJECT.datasets, *PROJECT.imports)]
    titles += [
        view_set.title
        for dataset in PROJECT.datasets.values()
        for view_set in dataset.view_sets.values()
    ]
    titles += [method.title for method in PROJECT.methods.values()]
    return json.dumps(
        [titles, PROJECT.config.model_dump(mode="json", include=sections)]
    )


def paper_files():
    names = {e.paper for e in PROJECT.config.experiments if e.paper}
    return [f"config/papers/{name}.yaml" for name in sorted(names)]


def figure_needs(wildcards):
    return figures.needs(wildcards.figure, PRESENT)


def figure_cts(wildcards):
    """List the CTs among what a figure needs, which decide how much memory it takes."""
    ending = Path(layout.CT).name
    return [file for file in figure_needs(wildcards) if file.endswith(ending)]


def table_chapter(wildcards):
    """Name the report's chapter: the paper whose published figures a table stands beside."""
    if wildcards.table in ("setup", "contrast"):
        return setup_chapter()
    key = PUBLISHES.get(wildcards.table)
    papers = [read_paper(e.paper) for e in PROJECT.config.experiments if e.paper]
    shorts = [p.short for p in papers if any(key in row.values for row in p.rows)]
    return f"Paper – {shorts[0]}" if shorts else "Tables"


def figure_labels(wildcards):
    kind, parts = figures.parts_of(wildcards.figure)
    return {"figure": kind.replace("_", " "), "of": ", ".join(parts)}


def correspondence_chapter(wildcards):
    return f"Paper – {read_paper('correspondence').short}"


def pose_table_inputs(wildcards):
    pattern, places = {
        "pose": (layout.POSES, PRESENT.pose_places()),
        "capture_range": (layout.CAPTURE_RANGE, PRESENT.capture_places()),
    }.get(wildcards.table, ("", []))
    return sorted({pattern.format(**place) for place in places})
