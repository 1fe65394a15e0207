"""The command line: one subcommand per step of the workflow, so that each also runs by hand.

    raymark train pelvis cpm 0 --config config/config.yaml

reads and writes the same files under results/ as the workflow's rule would.
"""

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from raymark import __version__
from raymark.core.errors import InputError
from raymark.core.kernel_cache import place_kernels
from raymark.workflow.steps import by_hand, data, experiments, products, register, view
from raymark.workflow.steps.arguments import ConfigFile, Threads

OWN_FILES = (
    view.view,
    by_hand.predict,
    register.register,
    register.drr,
    register.project,
    by_hand.match_cts,
)
AFTER_A_RUN = (by_hand.progress, by_hand.why, by_hand.check, by_hand.schemas)
STEPS: tuple[Callable[..., None], ...] = (
    data.fetch,
    data.import_calibrated,
    data.ingest,
    data.landmarks,
    data.atlas,
    data.virtual_patient,
    data.views,
    data.render,
    experiments.train,
    experiments.predict_views,
    experiments.evaluate,
    experiments.mean_position,
    experiments.pose,
    experiments.capture_range,
    experiments.setup_error,
    experiments.contrast,
    experiments.correspondence_train,
    experiments.correspondence_match,
    experiments.correspondence_follow_up,
    products.table,
    products.figure,
)
BEFORE_VERDICTS = (data.fetch, data.ingest)
ABOUT = """Anatomical landmarks in X-ray images: from CT to tables and figures.

Every step of the workflow (snakemake --cores 8 all) also runs by hand."""

app = typer.Typer(name="raymark", help=ABOUT, no_args_is_help=True, pretty_exceptions_enable=False)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. A user's mistake is told in one line."""
    # Threads that wait without spinning leave the cores to other jobs: twice the speed when shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    place_kernels()
    try:
        app(arguments, prog_name="raymark")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _version(asked: bool) -> None:
    if asked:
        print(f"raymark {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="tell the version")
    ] = False,
) -> None:
    pass


def _told(function: Callable[..., None]) -> Callable[..., None]:
    """Let a command tell in one line what it cannot use, or what the machine refused it."""
    name = function.__name__.replace("_", "-")

    def run(**arguments: Any) -> None:
        try:
            function(**arguments)
        except InputError as error:
            problem = str(error)
        except (OSError, MemoryError, OverflowError, RecursionError) as error:
            problem = _refused(error)
        else:
            return
        print(f"raymark {name}: {problem}", file=sys.stderr)
        raise typer.Exit(1)

    return _like(function, run)


def _refused(error: Exception) -> str:
    """Tell in one line what the machine refused, and of which file where that is known."""
    if isinstance(error, OSError) and (name := error.filename2 or error.filename) is not None:
        return f"{name}: {error.strerror}. Check the path, its rights and the space on its disk"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _of_project(step: Callable[..., None]) -> Callable[..., None]:
    """Give a step the project that `--config` names, once `--threads` are set."""

    def run(config: str, threads: int | None, **arguments: Any) -> None:
        if threads:
            for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ[variable] = str(threads)  # read when the libraries are imported
        from raymark.config.project import read_project
        from raymark.datasets.taking_part import without_excluded, without_refused

        project = without_excluded(read_project(config))
        if step not in BEFORE_VERDICTS:
            named = arguments.get("dataset")
            project = without_refused(project, [named] if named else project.datasets)
        step(project=project, **arguments)

    kind = inspect.Parameter.KEYWORD_ONLY
    common = (
        inspect.Parameter("config", kind, default="config/config.yaml", annotation=ConfigFile),
        inspect.Parameter("threads", kind, default=None, annotation=Threads),
    )
    return _like(step, run, without="project", added=common)


def _like(
    function: Callable[..., None],
    run: Callable[..., None],
    without: str = "",
    added: tuple[inspect.Parameter, ...] = (),
) -> Callable[..., None]:
    """Make `run` look to the command line like `function`, but for some arguments."""
    own = [p for p in inspect.signature(function).parameters.values() if p.name != without]
    parameters = [*own, *added]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _add(panel: str, functions: tuple[Callable[..., None], ...]) -> None:
    for function in functions:
        app.command(function.__name__.replace("_", "-"), rich_help_panel=panel)(_told(function))


_add("Steps of the workflow", tuple(map(_of_project, STEPS)))
_add("On files of your own", (*OWN_FILES, data.import_2d))
_add("For other tools", (_of_project(by_hand.export_data), by_hand.export))
_add("Looking after a run", AFTER_A_RUN)
