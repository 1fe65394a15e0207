"""The matrix as it was run, with what every training cost: for docs/measurements/matrix.md.

Reads what `snakemake --configfile config/matrix.yaml matrix` left below results/.
"""

from pathlib import Path

import pandas as pd
from measurement import output_argument, report

TABLE = Path("results/tables/matrix.md")
COMPARISONS = Path("results/tables/comparisons.csv")
BENCHMARK = "results/benchmarks/train/{dataset}/{method}/0.tsv"


def core_minutes(dataset: str, method: str) -> str:
    """Return the processor time of a training in minutes, start of the process included."""
    path = Path(BENCHMARK.format(dataset=dataset, method=method))
    if not path.exists():
        return "–"
    return f"{pd.read_csv(path, sep=chr(9))['cpu_time'].iloc[0] / 60:.1f}"


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    rows = pd.read_csv(COMPARISONS)
    titles = dict(zip(rows["dataset"], rows["dataset_title"], strict=True))
    methods = dict(zip(rows["method"], rows["method_title"], strict=True))
    cost = [
        {"method": title} | {titles[name]: core_minutes(name, method) for name in titles}
        for method, title in methods.items()
        if method != "mean_position"
    ]
    text = f"{TABLE.read_text(encoding='utf-8')}\nCore-minutes of each training:"
    report("Every method on every data set", text, cost, ["torch"], out)


if __name__ == "__main__":
    main()
