"""The Beam graph of indexing: chunks of photos in, committed chunk files out."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from transforms import storage
from transforms.detect import DetectFaces
from transforms.embed import EmbedFaces
from transforms.index_config import IndexConfig
from transforms.manifest import Chunk
from transforms.write import SumSummaries, WriteChunk, record_summary


def build(pipeline: beam.Pipeline, config: IndexConfig, chunks: Sequence[Chunk]) -> beam.PCollection:
    """Adds indexing to a pipeline.

    Only the names of chunks and small summaries travel between workers; photos stay inside the
    three steps in the middle, which every runner fuses into one stage::

        Chunk ─ DetectFaces ─ FaceSlice, crops ─ EmbedFaces ─ FaceSlice, vectors ─ WriteChunk ─ Summary
    """
    return (
        pipeline
        | "Chunks" >> beam.Create(list(chunks), reshuffle=True)
        | "DetectFaces" >> beam.ParDo(DetectFaces(config))
        | "EmbedFaces" >> beam.ParDo(EmbedFaces(config))
        | "WriteChunk" >> beam.ParDo(WriteChunk(config))
        | "Summarise" >> beam.CombineGlobally(SumSummaries())
        | "RecordSummary" >> beam.Map(record_summary, storage.join(config.manifests, config.run))
    )


def run_graph(config: IndexConfig, chunks: Sequence[Chunk], beam_options: Sequence[str]) -> None:
    """Indexes `chunks` on the engine that `beam_options` name, and waits for it."""
    from apache_beam.options.pipeline_options import PipelineOptions

    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        build(pipeline, config, chunks)


LOCAL_RUNNER = ("--runner=FnApiRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1")
