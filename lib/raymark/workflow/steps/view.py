"""The page that shows a CT as a C-arm sees it."""

from typing import Annotated, Any

from typer import Argument, Option

from raymark.workflow.steps.arguments import ConfigFile


def _known(help: str, **options: Any) -> Any:
    return Option(help=help, show_default=False, **options)


def view(
    dataset: Annotated[
        str | None, Argument(help="a data set: its detector, beam and views", show_default=False)
    ] = None,
    subject: Annotated[
        str | None, Argument(help="whose CT and landmarks of it to show", show_default=False)
    ] = None,
    ct: Annotated[str | None, _known("a CT of your own: DICOM, NIfTI, NRRD, MHA")] = None,
    landmarks: Annotated[
        str | None, _known("its landmarks: Slicer .mrk.json or .fcsv, or CSV in RAS mm")
    ] = None,
    labels: Annotated[str | None, _known("its label map, shown on the slices")] = None,
    model: Annotated[str | None, _known("a model.safetensors whose detections to show")] = None,
    pose: Annotated[str | None, _known("a pose.json whose X-rays to show")] = None,
    port: Annotated[int, Option(help="0 takes a free one", min=0, max=65535)] = 0,
    browser: Annotated[bool, Option(help="open the page in the browser")] = True,
    config: ConfigFile = "config/config.yaml",
) -> None:
    """Turn a C-arm about a CT in the browser, before anything is computed.

    Of your own files (--ct) or of a project's subject (`raymark view pelvis pelvis`). The page is served
    on this machine alone, at an address with a secret; Ctrl-C ends it. See docs/view.md.
    """
    import webbrowser
    from threading import Thread

    from raymark.config.project import read_project
    from raymark.core.errors import InputError
    from raymark.datasets.lookup import rendered
    from raymark.viewer import gather
    from raymark.viewer.server import Viewer

    project = read_project(config) if dataset else None
    if ct is not None and subject is None:
        settings = rendered(project, dataset) if project and dataset else None
        shown = gather.own(ct, landmarks, labels, settings)
    elif project and dataset and subject and not (ct or landmarks or labels):
        shown = gather.of_project(project, dataset, subject)
    else:
        problem = "needs either a CT of your own or a subject of the project"
        raise InputError("view", problem, "Give --ct, or a data set and a subject, not both")
    with Viewer(gather.together(shown, model, pose), port) as viewer:
        print("Rendering for the first time ...", flush=True)
        viewer.warm_up()
        print(f"Open {viewer.address}\nCtrl-C ends it.", flush=True)
        if browser:
            Thread(target=webbrowser.open, args=[viewer.address], daemon=True).start()
        try:
            viewer.serve_forever()
        except KeyboardInterrupt:
            print()
