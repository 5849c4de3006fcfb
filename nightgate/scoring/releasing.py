"""The files of a release: the scorer compiled and compared, scikit-learn's pipeline beside it, the probes, the door's rules."""

import io
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from nightgate.contracts.suites import Suite
from nightgate.datasets import Dataset
from nightgate.definition.model import Definition
from nightgate.errors import DefinitionError
from nightgate.features import snapshot_rows
from nightgate.importing import users_line
from nightgate.prediction import predict
from nightgate.releases import DOOR, PIPELINE, PROBED, PROBES, ROWS, Manifest
from nightgate.scoring.compiling import form_of
from nightgate.scoring.form import written
from nightgate.scoring.parity import compare, probes
from nightgate.scoring.scorer import PipelineScorer
from nightgate.scoring.transforming import NotCompiled
from nightgate.serving.rules import rules_of
from nightgate.settings import Settings
from nightgate.sources.types import ARROW
from nightgate.splits import Split
from nightgate.tables import Table


def files_of(definition: Definition, settings: Settings, manifest: Manifest, pipeline: Pipeline, *, snapshot: Dataset, table: Table,
             split: Split, contract: Suite) -> tuple[Manifest, dict[str, bytes]]:
    """Return the files of a release, and its manifest with how it scores and why.

    Raises DefinitionError for a pipeline that cannot be written down without code.
    """
    rows = snapshot_rows(definition, settings, snapshot, table.rows[split.holdout])
    rows = pa.table({name: rows[name].cast(ARROW[kind]) for name, kind in manifest.raw.items()})
    stored, trusted = _stored(pipeline)
    files = {PIPELINE: stored, ROWS: _array(np.sort(table.rows[split.train])),
             DOOR: json.dumps(asdict(rules_of(contract, manifest.raw, frozenset(definition.privacy.mask))), ensure_ascii=False).encode()}
    manifest = replace(manifest, trusted=trusted, versions={"python": platform.python_version(), **{
        name: version(name) for name in ("nightgate", "scikit-learn", "numpy")}})
    with _one_thread(pipeline):
        expected = predict(pipeline, table.frame.iloc[split.holdout], definition.task)
        try:
            found, scorer = _compiled(definition, manifest, pipeline, rows, expected)
            manifest = replace(manifest, parity=found)
        except NotCompiled as why:
            manifest, scorer = replace(manifest, falls_back=str(why)), {}
    few = rows.slice(0, PROBES)
    return manifest, files | scorer | {PROBED: probes(manifest.raw, few, expected[:PROBES])}


def _compiled(definition: Definition, manifest: Manifest, pipeline: Pipeline, rows: pa.Table, expected: NDArray[np.float64]
              ) -> tuple[dict[str, Any], dict[str, bytes]]:
    form = form_of(definition, pipeline, version=manifest.version, raw=manifest.raw, inputs=manifest.inputs, classes=manifest.classes,
                   threshold=manifest.threshold)
    reference = PipelineScorer(definition, pipeline, manifest.raw, manifest.inputs)
    return asdict(compare(form, rows, expected, reference.predict)), written(form)


def _stored(pipeline: Pipeline) -> tuple[bytes, list[str]]:
    """Return the pipeline as skops writes it, and the types in it that skops does not trust by itself."""
    import skops.io

    try:
        content = skops.io.dumps(pipeline)
        return content, sorted(skops.io.get_untrusted_types(data=content))
    except Exception as error:  # an estimator may hold anything
        raise DefinitionError(f"The chosen pipeline cannot be written down without code: {users_line(error)}",
                              remedy="Keep open files and connections out of what it learns, or take another estimator.") from error


@contextmanager
def _one_thread(pipeline: Pipeline) -> Iterator[None]:
    """Let a forest add up its trees in their order: several threads add as they come, which changes the last bits."""
    model = pipeline.steps[-1][1]
    threads = getattr(model, "n_jobs", None)
    if threads is not None:
        model.n_jobs = 1
    try:
        yield
    finally:
        if threads is not None:
            model.n_jobs = threads


def _array(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
