"""Other protocols' requests as rows, and answers as theirs: MLflow's `/invocations` and the Open Inference Protocol, version 2."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nightgate.serving.door import RefusedError, no_number, plain_json

PACKED: Mapping[str, Literal["?", "b", "h", "i", "q", "B", "H", "I", "Q", "f", "d"]] = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP32": "f", "FP64": "d"}
"""Datatypes of tensors in binary form, as `struct` names them."""

DATATYPES: Mapping[str, str] = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "text": "BYTES", "date": "BYTES"}


def mlflow_rows(body: bytes) -> list[dict[str, Any]]:
    """Return the rows of `dataframe_split`, `dataframe_records`, `instances` or `inputs`. Raises RefusedError."""
    value = plain_json(body, constant=lambda text: None if text == "NaN" else no_number(text))  # MLflow's client writes NaN for null
    if not isinstance(value, dict):
        raise RefusedError(["the body is no object"])
    given = [name for name in ("dataframe_split", "dataframe_records", "instances", "inputs") if name in value]
    if len(given) != 1 or value.keys() - {given[0] if given else "", "params"}:
        raise RefusedError(["the body needs one of dataframe_split, dataframe_records, instances, inputs"])
    found = value[given[0]]
    if given[0] == "dataframe_split":
        if not isinstance(found, dict) or not isinstance(found.get("columns"), list) or not isinstance(found.get("data"), list):
            raise RefusedError(["dataframe_split needs columns and data"])
        return _split(found["columns"], found["data"])
    if isinstance(found, dict):
        return _columns(found)
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise RefusedError([f"{given[0]} needs rows as objects"])
    return found


def _split(columns: Sequence[Any], data: Sequence[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(name, str) for name in columns) or len({*columns}) < len(columns):
        raise RefusedError(["dataframe_split.columns needs different names"])
    wrong = [f"rows[{number}]: {len(row) if isinstance(row, list) else 'no'} values for {len(columns)} columns"
             for number, row in enumerate(data) if not isinstance(row, list) or len(row) != len(columns)]
    if wrong or not data:
        raise RefusedError(wrong or ["there is no row"])
    return [dict(zip(columns, row, strict=True)) for row in data]


def _columns(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = {len(values) if isinstance(values, list) else -1 for values in found.values()}
    if len(lengths) != 1 or min(lengths) < 1:
        raise RefusedError(["columns need lists of one length"])
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def mlflow_answer(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"predictions": [dict(each) for each in answers]}


def inference_rows(body: bytes, raw: Mapping[str, str], *, described: int | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of a request of the Open Inference Protocol, a tensor a column, and its id.

    `described` is the length of the JSON before tensors in binary form, as the header `Inference-Header-Content-Length` says.
    Raises RefusedError.
    """
    value = plain_json(body[:described])
    inputs = value.get("inputs") if isinstance(value, dict) else None
    if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
        raise RefusedError(["inputs: a list of tensors is needed, one a column"])
    if described is not None:
        inputs = [*_unpacked(inputs, memoryview(body)[described:])]
    columns: dict[str, list[Any]] = {}
    mistakes = []
    for number, each in enumerate(inputs):
        name, data, kind = each.get("name"), each.get("data"), each.get("datatype")
        if not isinstance(name, str) or not isinstance(data, list) or not isinstance(kind, str):
            mistakes.append(f"inputs[{number}]: a tensor has name, shape, datatype and data")
            continue
        flat = [item for part in data for item in part] if data and all(isinstance(part, list) for part in data) else data
        shape = each.get("shape")
        if not isinstance(shape, list) or not shape or shape[0] != len(flat) or any(size != 1 for size in shape[1:]):
            mistakes.append(f"inputs[{number}]: its shape must be [{len(flat)}] or [{len(flat)}, 1]")
        if name in columns:
            mistakes.append(f"inputs[{number}]: the column stands twice")
        columns[name] = [_value(item, kind, raw.get(name, "")) for item in flat]
    if mistakes:
        raise RefusedError(mistakes)
    ident = value.get("id")
    return _columns(columns), ident if isinstance(ident, str) else None


def _unpacked(inputs: Sequence[dict[str, Any]], binary: memoryview) -> Iterator[dict[str, Any]]:
    """Yield tensors with the data that their `binary_data_size` bytes hold, one tensor after the other."""
    for number, each in enumerate(inputs):
        parameters = each.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            yield each
            continue
        kind = str(each.get("datatype"))
        if type(size) is not int or not 0 <= size <= len(binary) or (kind != "BYTES" and kind not in PACKED):
            raise RefusedError([f"inputs[{number}]: its binary_data_size or its datatype is not what follows the JSON"])
        part, binary = binary[:size], binary[size:]
        try:
            yield {**each, "data": _texts(part) if kind == "BYTES" else [_finite(item) for item in part.cast(PACKED[kind])]}
        except (TypeError, UnicodeDecodeError):
            raise RefusedError([f"inputs[{number}]: its {size:,} bytes are no whole number of {kind}"]) from None
    if binary:
        raise RefusedError([f"{len(binary):,} bytes belong to no tensor"])


def _finite(item: float) -> float | None:
    """Return a number, None for NaN. Raises RefusedError for an infinite one."""
    if math.isinf(item):
        raise RefusedError(["an infinite number is none"])
    return None if math.isnan(item) else item


def _texts(part: memoryview) -> list[str]:
    """Return texts in UTF-8, each after its length in four bytes. Raises TypeError when they are cut off."""
    found = []
    while part:
        length = int.from_bytes(part[:4], "little")
        if len(part) < 4 + length:
            raise TypeError
        found.append(str(part[4:4 + length], "utf-8"))
        part = part[4 + length:]
    return found


def _value(value: Any, datatype: str, kind: str) -> Any:
    """Return a tensor's item as JSON says a column's values: floats have no other word for nothing than NaN, written as null."""
    if kind == "number" and isinstance(value, int) and not isinstance(value, bool) and datatype.startswith(("INT", "UINT", "FP")):
        return float(value)
    return value


def inference_answer(model: str, version: int, request: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return answers as tensors: `prediction`, and `probability` or one `probability_<class>` for each class."""
    columns: dict[str, list[Any]] = {}
    for each in answers:
        flat = {"prediction": each["prediction"], **({"probability": each["probability"]} if "probability" in each else {}),
                **{f"probability_{name}": share for name, share in each.get("probabilities", {}).items()}}
        for name, value in flat.items():
            columns.setdefault(name, []).append(value)
    outputs = [{"name": name, "shape": [len(values)], "datatype": "BYTES" if isinstance(values[0], str) else "FP64", "data": values}
               for name, values in columns.items()]
    return {"model_name": model, "model_version": str(version), "id": request, "outputs": outputs}


def inference_metadata(model: str, version: int, raw: Mapping[str, str], task: str, classes: Sequence[str]) -> dict[str, Any]:
    names = {"binary": ["probability"], "regression": []}.get(task, [f"probability_{name}" for name in classes])
    outputs = [{"name": "prediction", "datatype": "FP64" if task == "regression" else "BYTES", "shape": [-1]}]
    outputs += [{"name": name, "datatype": "FP64", "shape": [-1]} for name in names]
    return {"name": model, "versions": [str(version)], "platform": "nightgate",
            "inputs": [{"name": name, "datatype": DATATYPES[kind], "shape": [-1]} for name, kind in raw.items()], "outputs": outputs}


