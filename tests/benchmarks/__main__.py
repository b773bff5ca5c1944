"""Run the benchmarks, print the table, write build/bench.json: see the package."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
OUT = ROOT / "build" / "bench.json"


def select(folder: Path, names: Sequence[str]) -> dict[Path, list[str]]:
    """Return the files to run, each with the names wanted of it; no names: all of it.

    Raises:
        SystemExit: A name's area has no file.
    """
    files = {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}
    if not names:
        return {path: [] for path in files.values()}
    wanted: dict[Path, list[str]] = {}
    whole = {name for name in names if "." not in name}
    for name in names:
        area = name.split(".")[0]
        if area not in files:
            raise SystemExit(f"error: a benchmark's area must be one of {', '.join(files)}, got {name!r}")
        wanted.setdefault(files[area], [])
        if area not in whole:
            wanted[files[area]].append(name)
    return wanted


def run_file(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Run one file in its own process and return its results and failures."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [sys.executable, "-m", "tests.benchmarks.measure", str(path), str(result), *names]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0:
            measured: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        else:
            failures = {path.name: f"its process ended with exit code {done.returncode}"}
            measured = {"results": [], "failures": failures, "left_out": {}}
        if measured["failures"]:
            print("\n".join(done.stdout.splitlines()[-30:]), file=sys.stderr)
        return measured


def met(result: Mapping[str, Any]) -> bool:
    """Tell whether the ratio reached its target."""
    if result["better"] == "lower":
        return bool(result["ratio"] <= result["target"])
    return bool(result["ratio"] >= result["target"])


def table(results: Iterable[Mapping[str, Any]], failures: Mapping[str, str]) -> Table:
    """Lay out results and failures for a terminal."""
    shown = Table(title="medians, ours against the other side", title_justify="left")
    shown.add_column("benchmark", no_wrap=True)
    for heading in ("ours", "other", "unit", "ours / other", "target"):
        shown.add_column(heading, justify="left" if heading == "unit" else "right")
    shown.add_column("")
    for result in results:
        sign = "≤" if result["better"] == "lower" else "≥"
        shown.add_row(
            result["name"],
            f"{result['ours']:.4g}",
            f"{result['other']:.4g}",
            result["unit"],
            f"{result['ratio']:.2f}",
            f"{sign} {result['target']:.2f}",
            "[green]reached[/]" if met(result) else "[yellow]missed[/]",
        )
    for name, message in failures.items():
        shown.add_row(escape(name), "", "", "", "", "", f"[red]failed[/] {escape(message)}")
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 when a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="an area or area.what; default: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the bench_*.py are")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file to write")
    options = parser.parse_args(arguments)
    console = Console()
    results: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for path, names in select(options.folder, options.names).items():
        console.print(f"{path.name} …", style="dim")
        measured = run_file(path, names)
        results += measured["results"]
        failures |= measured["failures"]
        for name, reason in measured["left_out"].items():
            console.print(f"{name} is left out: it {reason}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(table(results, failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
