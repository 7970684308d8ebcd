"""The commands ``albumen bench …`` about synthetic libraries."""

from __future__ import annotations

from collections.abc import Callable

import click

from pipeline.commands import Result
from transforms.library import Library


def register(bench: click.Group, reported: Callable, output_options: Callable, show: Callable) -> None:
    """Adds the commands to the group `bench`.

    `reported` turns errors into lines, `output_options` adds --json and --quiet, `show` prints a
    Result as they say.
    """

    @bench.command("synthetic")
    @click.argument("library")
    @click.option("--out", type=click.Path(file_okay=False), default="docs", show_default=True)
    @click.option("--fit", is_flag=True, help="Learn the statistics of faces anew, and write them into OUT.")
    @click.option("--seed", type=int, default=0, show_default=True)
    @output_options
    @reported
    def synthetic(library, out, fit, seed, as_json, quiet) -> None:
        """Compare synthetic faces with LFW's, indexed in LIBRARY: distances and impostors' tail."""
        from pipeline import bench_synthetic

        opened = Library.open(library)
        found = bench_synthetic.fit(opened, out) if fit else bench_synthetic.compare(opened, out, seed=seed)
        show(Result(*found), as_json, quiet)
