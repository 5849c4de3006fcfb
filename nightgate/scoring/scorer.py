"""A release as code asks it: rows of a table are typed, masked and answered as in training, by its compiled scorer where it has one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition, Privacy
from nightgate.errors import DataUnusable
from nightgate.features import engineer_frame
from nightgate.prediction import predict
from nightgate.privacy import masking_key, shielded
from nightgate.releases import Release, read_pointer, read_release
from nightgate.scoring.blocks import BlockScorer, Column, Texts
from nightgate.scoring.form import Form
from nightgate.settings import Settings
from nightgate.snapshots import reading_of
from nightgate.sources.types import ARROW, fitted, misfits, tidy
from nightgate.wording import counted

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class PipelineScorer:
    """A fitted pipeline with what makes its inputs of the columns `raw`; `inputs`: the features it takes and their types.

    It is what compiled scorers are compared with, and what serves where there is none.
    """

    definition: Definition
    pipeline: "Pipeline"
    raw: Mapping[str, ColumnType]
    inputs: Mapping[str, str]

    @classmethod
    def of(cls, release: Release) -> "PipelineScorer":
        manifest = release.manifest
        return cls(Definition.model_validate_json(manifest.definition), release.pipeline, manifest.raw, manifest.inputs)

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Return the predictions for typed rows."""
        made = engineer_frame(self.definition, rows[list(self.raw)], self.raw)
        features = pd.DataFrame({name: _feature(made[name], categorical=kind == "category") for name, kind in self.inputs.items()})
        return predict(self.pipeline, features, self.definition.task)


def _feature(column: "pd.Series[Any]", *, categorical: bool) -> Any:
    """Return a feature as `tables.read_table` gives it to the pipeline: a category of texts, or numbers."""
    if categorical:
        return pd.Categorical(pc.cast(pa.Array.from_pandas(column), pa.string()).to_pylist())
    values = column.astype("float64").to_numpy()
    return np.where(np.isinf(values), np.nan, values)


@dataclass(frozen=True)
class Scorer:
    """A release, with what makes its inputs of raw rows, and what answers: scikit-learn itself where it has no compiled scorer."""

    release: Release
    definition: Definition
    key: bytes
    answering: BlockScorer | PipelineScorer

    def typed(self, rows: pa.Table, keys: Mapping[str, ColumnType]) -> tuple[pa.Table, dict[str, list[int]]]:
        """Return the release's columns (and `keys`) as training would have them, and the rows whose values do not fit.

        Masked columns hold tokens. Raises DataUnusable for missing columns.
        """
        wanted: dict[str, ColumnType] = {**keys, **self.release.manifest.raw}
        if missing := [name for name in wanted if name not in rows.column_names]:
            raise DataUnusable(f"The table to score lacks {counted(len(missing), 'column')}, such as `{missing[0]}`.",
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

    def predict(self, rows: pd.DataFrame | pa.Table) -> NDArray[np.float64]:
        """Return the predictions for typed rows."""
        raw = self.release.manifest.raw
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows[list(raw)], preserve_index=False)
        if isinstance(self.answering, BlockScorer):
            return self.answering(columns_of(table, raw), len(table))
        plain = pa.table({name: pc.cast(table[name], ARROW[kind], safe=False) for name, kind in raw.items()})
        return self.answering.predict(plain.to_pandas())

    def answers(self, rows: pd.DataFrame | pa.Table) -> pa.Table:
        """Return prediction and probability (one column a class where there are several) of typed rows."""
        manifest, predictions = self.release.manifest, self.predict(rows)
        if manifest.task == "regression":
            return pa.table({"prediction": predictions})
        chosen = (predictions >= manifest.decides_at).astype(np.int32) \
            if manifest.task == "binary" else predictions.argmax(axis=1).astype(np.int32)
        labels = pa.DictionaryArray.from_arrays(chosen, pa.array(manifest.classes, pa.string())).dictionary_decode()
        if manifest.task == "binary":
            return pa.table({"prediction": labels, "probability": predictions})
        shares = {f"probability_{label}": np.ascontiguousarray(predictions[:, place]) for place, label in enumerate(manifest.classes)}
        return pa.table({"prediction": labels, **shares})


def columns_of(table: pa.Table, raw: Mapping[str, str]) -> list[Column]:
    """Return the columns that a form takes, of a table with its types. What is infinite is missing."""
    return [_column(table[name], kind) for name, kind in raw.items()]


def rows_of(table: pa.Table, raw: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """Yield the same rows as values of Python."""
    return zip(*([None if isinstance(value, float) and not np.isfinite(value) else value for value in table[name].to_pylist()]
                 for name in raw), strict=True)


def _column(column: pa.ChunkedArray, kind: str) -> Column:
    if kind == "text":
        coded = column.combine_chunks() if pa.types.is_dictionary(column.type) else column.combine_chunks().dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.chunk(0) if coded.num_chunks else pa.array([], coded.type)
        codes = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)
        return Texts([*coded.dictionary.to_pylist(), None], codes.astype(np.int64))
    if kind == "date":
        return column.to_numpy().astype("datetime64[us]")
    values = pc.cast(column, pa.float64(), safe=False).to_numpy().copy()
    values[np.isinf(values)] = np.nan
    return values


def frame_of(rows: Sequence[Sequence[Any]], raw: Mapping[str, str]) -> pd.DataFrame:
    """Return rows of JSON's values as a frame of typed ones."""
    frame = pd.DataFrame(rows, columns=list(raw))
    for name in [name for name, kind in raw.items() if kind == "date"]:
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    return frame


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
    return Scorer(release, definition, b"", PipelineScorer.of(release) if release.manifest.falls_back else fastest(release.form))


def fastest(form: Form) -> BlockScorer:
    """Return what answers many rows: by machine code where numba is installed and has a folder for what it compiles."""
    try:
        from nightgate.scoring.machine import BLOCK, fast
    except (ImportError, RuntimeError):
        return BlockScorer(form)
    return BlockScorer(form, fast, BLOCK)
