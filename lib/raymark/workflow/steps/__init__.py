"""What each subcommand does: names of the configuration in, files under results/ out.

Paths come from `raymark.layout`, work is done elsewhere; the heavy libraries are imported inside the
steps that need them, so that every command starts fast.
"""

from raymark.workflow.steps.data import (
    fetch,
    import_2d,
    ingest,
    landmarks,
    render,
    views,
    virtual_patient,
)
from raymark.workflow.steps.models import (
    capture_range,
    contrast,
    correspondence_follow_up,
    correspondence_match,
    correspondence_report,
    correspondence_train,
    evaluate,
    mean_position,
    pose,
    predict_views,
    setup_error,
    train,
)
from raymark.workflow.steps.products import (
    check,
    export,
    figure,
    match_cts,
    predict,
    progress,
    schemas,
    table,
)

__all__ = [
    "capture_range",
    "check",
    "contrast",
    "correspondence_follow_up",
    "correspondence_match",
    "correspondence_report",
    "correspondence_train",
    "evaluate",
    "export",
    "fetch",
    "figure",
    "import_2d",
    "ingest",
    "landmarks",
    "match_cts",
    "mean_position",
    "pose",
    "predict",
    "predict_views",
    "progress",
    "render",
    "schemas",
    "setup_error",
    "table",
    "train",
    "views",
    "virtual_patient",
]
