"""A release as code asks it: rows of a table are typed, masked and answered as in training, by its compiled scorer where it has one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition, Privacy
from nightgate.errors import DataUnusable
from nightgate.privacy import masking_key, shielded
from nightgate.releases import Release, pipeline_of, read_pointer, read_release
from nightgate.scoring.arrow import columns_of
from nightgate.scoring.blocks import BlockScorer
from nightgate.settings import Settings
from nightgate.snapshots import reading_of
from nightgate.sources.types import ARROW, fitted, misfits, tidy

if TYPE_CHECKING:
    import pandas as pd

    from nightgate.scoring.pipelines import PipelineScorer


@dataclass(frozen=True)
class Scorer:
    """A release, with what makes its inputs of raw rows; `compiled` is None where scikit-learn itself answers."""

    release: Release
    definition: Definition
    key: bytes
    compiled: BlockScorer | None
    pipeline: "PipelineScorer | None"

    def typed(self, rows: pa.Table, keys: Mapping[str, ColumnType]) -> tuple[pa.Table, dict[str, list[int]]]:
        """Return the release's columns (and `keys`) as training would have them, and the rows whose values do not fit.

        Masked columns hold tokens. Raises DataUnusable for missing columns.
        """
        wanted: dict[str, ColumnType] = {**keys, **self.release.manifest.raw}
        if missing := [name for name in wanted if name not in rows.column_names]:
            raise DataUnusable(f"The table to score lacks {len(missing)} columns, such as `{missing[0]}`.",
                               remedy=f"{self.definition.name} needs {', '.join(wanted)}.")
        reading = reading_of(self.definition)
        masked = tuple(name for name in self.definition.privacy.mask if name in wanted)
        tidied = shielded(tidy(rows.select(list(wanted)), reading), Privacy(mask=masked), self.key)
        columns, lost = {}, {}
        for name, kind in wanted.items():
            array = tidied[name].combine_chunks()
            made = fitted(array, kind, reading)
            if len(found := misfits(array, made, kind)):
                lost[name] = found.to_pylist()
            columns[name] = made
        return pa.table(columns), lost

    def predict(self, rows: "pd.DataFrame | pa.Table") -> NDArray[np.float64]:
        """Return the predictions for typed rows."""
        if self.compiled is None:
            assert self.pipeline is not None
            return self.pipeline.predict(_plain(rows, self.release.manifest.raw).to_pandas())
        raw = self.release.manifest.raw
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows[list(raw)], preserve_index=False)
        return self.compiled(columns_of(table, raw), len(table))

    def answers(self, rows: "pd.DataFrame | pa.Table") -> pa.Table:
        """Return prediction and probability (one column a class where there are several) of typed rows."""
        manifest, predictions = self.release.manifest, self.predict(rows)
        if manifest.task == "regression":
            return pa.table({"prediction": predictions})
        chosen = (predictions >= (manifest.threshold if manifest.threshold is not None else 0.5)).astype(np.int32) \
            if manifest.task == "binary" else predictions.argmax(axis=1).astype(np.int32)
        labels = pa.DictionaryArray.from_arrays(chosen, pa.array(manifest.classes, pa.string())).dictionary_decode()
        if manifest.task == "binary":
            return pa.table({"prediction": labels, "probability": predictions})
        shares = {f"probability_{label}": np.ascontiguousarray(predictions[:, place]) for place, label in enumerate(manifest.classes)}
        return pa.table({"prediction": labels, **shares})


def _plain(rows: "pd.DataFrame | pa.Table", raw: Mapping[str, ColumnType]) -> pa.Table:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows[list(raw)], preserve_index=False)
    return pa.table({name: pc.cast(table[name], ARROW[kind], safe=False) for name, kind in raw.items()})


def load_scorer(settings: Settings, model: str, version: int) -> Scorer:
    """Load a release after checking its hashes. Raises FileMissing, NotVerified, and StoreError for a lost masking key."""
    scorer = load_answering(settings, model, version)
    return replace(scorer, key=masking_key(settings, model)) if scorer.definition.privacy.mask else scorer


def load_answering(settings: Settings, model: str, version: int) -> Scorer:
    """Load a release to answer rows that are typed already, without the key that masks. Raises FileMissing and NotVerified."""
    pointer: Any = read_pointer(settings.store, model)
    pointed = pointer.manifest_sha256 if pointer is not None and pointer.version == version else None
    release = read_release(settings, model, version, pointed=pointed)
    definition = Definition.model_validate_json(release.manifest.definition)
    compiled = None if release.manifest.falls_back else BlockScorer(release.form)
    return Scorer(release, definition, b"", compiled, None if compiled is not None else pipeline_of(release))
