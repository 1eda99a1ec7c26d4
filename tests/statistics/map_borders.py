"""The borders of the phase maps, ten simulated points on each side, and the maps' figures with them.

    python -m tests.statistics.map_borders --data docs/data/map_borders.json --figures docs/figures

Writes the points with their verdicts and the position of each border, predicted and measured; draws every map that ships with its
own simulated cells, and prints its caption. Exit code 1 if a point is on the wrong side. About a quarter of an hour on two cores;
with `--keep` the points of the data are taken as they are and only the maps made: some minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from entclip.policies.softmax import Geometry
from entclip.prediction.maps.figure import figure, map_caption
from entclip.prediction.maps.phase_map import PLANES, Plane, phase_map, plane, records
from entclip.prediction.maps.verify import spread, verify
from entclip.support.files import prepare_folder, to_json, write_atomic
from tests.statistics.border import Border, border_points, crossings, simulate_border

# Plane's geometry, heights (sigma), distances (of the Zipf exponent), and exponents that the border lies between.
_NATURAL = (0.08, 0.12, 0.18, 0.27, 0.4)
BORDERS: dict[Border, tuple[Geometry, tuple[float, ...], tuple[float, float], tuple[float, float]]] = {
    "gap_high": ("natural", _NATURAL, (0.05, 0.1), (0.0, 1.0)),
    "dominance": ("natural", _NATURAL, (0.05, 0.1), (0.2, 1.0)),
    "gap_low": ("euclidean", (0.12, 0.15, 0.18, 0.22, 0.27), (0.075, 0.15), (0.1, 0.9)),
}


def points(border: Border, jobs: int) -> tuple[Plane, pd.DataFrame]:
    """A border's plane and its simulated points."""
    geometry, heights, offsets, between = BORDERS[border]
    where = plane("concentration", geometry)
    return where, simulate_border(where, border_points(where, border, heights, offsets, between), jobs=jobs)


def simulated(data: Path, jobs: int) -> dict[Border, pd.DataFrame]:
    """The points of every border, simulated now and written to `data` with the borders' positions."""
    found = {border: points(border, jobs) for border in BORDERS}
    tables = {border: crossings(rows, where.x.name, where.y.name) for border, (where, rows) in found.items()}
    record = {b: {"points": records(rows), "crossings": records(tables[b])} for b, (_, rows) in found.items()}
    write_atomic(data, to_json(record).encode())
    for border, (_, rows) in found.items():
        print(rows.to_string(), tables[border].to_string(), sep="\n", flush=True)
    return {border: rows for border, (_, rows) in found.items()}


def kept(data: Path) -> dict[Border, pd.DataFrame]:
    """The points as `data` has them."""
    record = json.loads(data.read_text())
    return {border: pd.DataFrame(record[border]["points"]) for border in BORDERS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.map_borders", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("docs/data/map_borders.json"))
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--jobs", type=int, default=2, help="threads")
    parser.add_argument("--map", action="append", metavar="PLANE:GEOMETRY", help="draw only these maps (default: all six)")
    parser.add_argument("--keep", action="store_true", help="keep the points of --data, make only the maps again")
    options = parser.parse_args()
    for folder in (options.data.parent, options.figures):
        prepare_folder(folder)
    found = kept(options.data) if options.keep else simulated(options.data, options.jobs)
    for name in options.map or [f"{p}:{g}" for p in PLANES for g in ("natural", "euclidean")]:
        kind, geometry = name.split(":")
        where = plane(kind, geometry)
        frame = phase_map(where.experiment, where.x, where.y)
        frame = verify(frame, spread(frame, 16))
        own = [rows for b, rows in found.items() if BORDERS[b][0] == geometry] if kind == "concentration" else []
        beside = pd.concat(own) if own else None
        suffix = "" if geometry == "natural" else "_euclidean"
        figure(frame, options.figures / f"map_{kind}{suffix}.png", beside=beside)
        tested = frame[frame["verdict"] != ""]
        print(name, dict(frame["status"].value_counts()), dict(tested["verdict"].value_counts()), flush=True)
        print(map_caption(frame, beside=beside), flush=True)
    return int(any((rows["verdict"] == "reject").any() for rows in found.values()))


if __name__ == "__main__":
    sys.exit(main())
