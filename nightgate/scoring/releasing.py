"""The files of a release: the scorer compiled and compared, scikit-learn's pipeline beside it, the probes, the door's rules.

A compiled scorer is released only if it says what scikit-learn says, on the whole hold-out and on rows at the edge.
"""

import io
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
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
from nightgate.scoring.blocks import BlockScorer
from nightgate.scoring.compiling import form_of
from nightgate.scoring.form import Form, written
from nightgate.scoring.rows import row_scorer
from nightgate.scoring.scorer import PipelineScorer, columns_of, rows_of
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


def _array(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


TOLERANCE = 1e-12
"""Largest difference, relative to numbers above 1, where sums and products come in another order; trees must be equal."""

ALONE = 20_000
"""Rows that are also answered one by one."""

EDGES: Mapping[str, tuple[Any, ...]] = {
    "number": (None, 0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e30, -1e30, 3.4e38, -3.4e38, 2.0**53, float("nan"), float("inf"), float("-inf")),
    "integer": (None, 0, 1, -1, 2**31, -2**31, 2**53 + 1, -2**63 + 1, 2**63 - 1), "boolean": (None, True, False),
    "text": (None, "nobody has seen this", "A", "a", " ", "\t\n", "9 lives\u00a0of 9", "\u00c9\u00e9 \U0001f600", "x" * 1_000),
    "date": (None, datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(2000, 2, 29, 12), datetime(9999, 12, 31))}
BASE_ROWS = 3


@dataclass(frozen=True)
class Parity:
    """What was compared. `refused`: rows at the edge that scikit-learn itself refuses."""

    rows: int
    edges: int
    refused: int
    largest: float
    exact: bool


def compare(form: Form, table: pa.Table, expected: NDArray[np.float64], reference: Callable[[pd.DataFrame], NDArray[np.float64]]) -> Parity:
    """Compare a form with what the pipeline said of typed hold-out rows, and with `reference` on rows at the edge of them.

    Raises NotCompiled when they differ.
    """
    block, one, exact = BlockScorer(form), row_scorer(form), _exact(form.root)
    largest = max(_difference(block(columns_of(table, form.raw), len(table)), expected, exact=exact, where="the hold-out"),
                  _difference(_alone(one, table.slice(0, ALONE), form), expected[:ALONE], exact=exact, where="single rows"))
    edges = pa.concat_tables(list(_edges(table.slice(0, BASE_ROWS), form.raw)))
    edges, said = _answered(edges, reference)
    if len(edges):
        largest = max(largest, _difference(block(columns_of(edges, form.raw), len(edges)), said, exact=exact, where="rows at the edge"),
                      _difference(_alone(one, edges, form), said, exact=exact, where="single rows at the edge"))
    total = sum(len(EDGES[kind]) for kind in form.raw.values()) * min(BASE_ROWS, len(table))
    return Parity(len(table), len(edges), total - len(edges), largest, exact)


def _exact(part: Mapping[str, Any]) -> bool:
    """Return whether nothing but trees and their link is in a model."""
    return part["kind"] in ("trees", "constant") or (part["kind"] == "link" and _exact(part["of"]))


def _alone(one: Callable[..., Any], table: pa.Table, form: Form) -> NDArray[np.float64]:
    return np.array([one(*row) for row in rows_of(table, form.raw)], dtype=np.float64)


def _difference(found: NDArray[np.float64], expected: NDArray[np.float64], *, exact: bool, where: str) -> float:
    if found.shape != expected.shape:
        raise NotCompiled(f"an answer of shape {found.shape} in the place of {expected.shape}")
    if not len(found):
        return 0.0
    worst = float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0)))
    if not worst <= (0.0 if exact else TOLERANCE):
        raise NotCompiled(f"an exact form: on {where} it differs from scikit-learn by up to {worst:.3g}")
    return worst


def _edges(base: pa.Table, raw: Mapping[str, str]) -> Iterator[pa.Table]:
    """Yield the base rows with one column after the other at its edges; texts also in the wrong case."""
    for place, (name, kind) in enumerate(raw.items()):
        values = EDGES[kind]
        if kind == "text":
            seen = [text for text in base[name].to_pylist() if text is not None]
            values = (*values[:-1], seen[0].swapcase() if seen else values[-1])
        for value in values:
            column = pa.array([value] * len(base), ARROW[kind], from_pandas=False)  # type: ignore[index] # the types of a snapshot
            yield base.set_column(place, name, column)


def _answered(edges: pa.Table, reference: Callable[[pd.DataFrame], NDArray[np.float64]]) -> tuple[pa.Table, NDArray[np.float64]]:
    """Return the rows that scikit-learn answers, with its answers."""
    try:
        return edges, reference(edges.to_pandas())
    except ValueError:
        kept, said = [], []
        for place in range(len(edges)):
            try:
                said.append(reference(edges.slice(place, 1).to_pandas()))
            except ValueError:
                continue
            kept.append(place)
        return edges.take(kept), np.concatenate(said) if said else np.empty(0)


def probes(raw: Mapping[str, str], table: pa.Table, expected: NDArray[np.float64]) -> bytes:
    """Return hold-out rows with their answers, as JSON."""
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in rows_of(table, raw)]
    return json.dumps({"rows": rows, "expected": expected.tolist()}).encode()
