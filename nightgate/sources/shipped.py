"""scikit-learn's shipped data, as `sklearn:NAME`; the column `target` holds class names as text, or the number."""

from collections.abc import Iterator

import pyarrow as pa

from nightgate.errors import DefinitionError

SHIPPED = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def shipped(name: str) -> Iterator[pa.Table]:
    """Yield one of the data sets; raise DefinitionError for a name that is none."""
    if name not in SHIPPED:
        raise DefinitionError(f"source.data: scikit-learn ships no `{name}` here.",
                              remedy=f"There is {', '.join(SHIPPED)}.")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame
    if "target_names" in bunch:
        frame["target"] = [str(bunch.target_names[code]) for code in frame["target"]]
    yield pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
