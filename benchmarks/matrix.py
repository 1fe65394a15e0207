"""The matrix as it was run, with its figure: for docs/measurements/matrix.md and .svg.

Copies what `snakemake --configfile config/matrix.yaml matrix` left below results/.
"""

import shutil
from pathlib import Path

from measurement import output_argument, report

TABLE = Path("results/tables/matrix.md")
FIGURE = Path("results/figures/matrix.svg")
COST = "What the networks cost in time and memory: [methods.md](methods.md)."


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    text = f"{TABLE.read_text(encoding='utf-8')}\n{COST}"
    if out:
        shutil.copyfile(FIGURE, out.with_suffix(".svg"))
        text = f"![Errors of all methods on all data sets]({out.stem}.svg)\n\n{text}"
    report("Every method on every data set", text, [], ["torch"], out)


if __name__ == "__main__":
    main()
