"""SHIM"""
def _s(n, meta=None):
    return {"name": n, "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}], "meta": meta or {}}
def infer_raw(path, definition, columns): return _s("raw", {"nightgate": {"columns": {c.name: c.type for c in columns}}})
def infer_features(path, definition, columns): return _s("features")
def infer_predictions(definition): return _s("predictions")
def infer_metrics(definition): return _s("metrics")
