"""The commands ``albumen bench …`` about synthetic libraries."""

from __future__ import annotations

from collections.abc import Callable

import click

from pipeline.commands import Result
from pipeline.options import cores
from pipeline.search_neighbours import SearchSettings
from transforms.library import Library


def search_options(command: Callable) -> Callable:
    """The options about searching a large library."""
    options = (
        click.option(
            "--memory", type=click.FloatRange(0.5), default=4.0, show_default=True,
            help="GB that the search of a large library may take.",
        ),
        click.option("--threads", type=click.IntRange(1), help="Default: as many as there are cores."),
        click.option("--compact", is_flag=True, help="Search large libraries on 128 bytes a face."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def search_settings(options: dict) -> SearchSettings:
    """What `search_options`, --seed and --runner with Beam's own options say."""
    runner = options.get("runner")
    return SearchSettings(
        memory=int(options["memory"] * 1e9),
        threads=options["threads"] or cores(),
        compact=options["compact"],
        seed=options["seed"],
        beam_options=(f"--runner={runner}", *options["beam_options"]) if runner else (),
    )


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

    @bench.command("group")
    @click.option(
        "--faces", type=click.IntRange(1000), multiple=True, default=(10_000, 100_000, 1_000_000),
        show_default=True, help="How many; may be given several times.",
    )  # fmt: skip
    @click.option("--out", type=click.Path(file_okay=False), default="docs", show_default=True)
    @click.option("--work", type=click.Path(exists=True, file_okay=False), help="Where the libraries lie.")
    @click.option("--method", default="default", show_default=True)
    @click.option("--seed", type=int, default=0, show_default=True)
    @search_options
    @output_options
    @reported
    def group(faces, out, work, method, as_json, quiet, **search) -> None:
        """Time and memory of grouping synthetic libraries, and what it finds."""
        from pipeline.bench_group import bench as measure

        found = measure(list(faces), out, work=work, method=method, settings=search_settings(search))
        show(Result(*found), as_json, quiet)
