"""FastAPI, pydantic and onnxruntime: FOLDER PORT."""

import sys

import joblib
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, create_model
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

NUMBERS, WORDS = [f"n{place}" for place in range(20)], [f"w{place}" for place in range(10)]
pipeline = joblib.load(f"{sys.argv[1]}/pipeline.joblib")
types = [(name, FloatTensorType([None, 1])) for name in NUMBERS] + [(name, StringTensorType([None, 1])) for name in WORDS]
for _, encoder, _ in pipeline.steps[0][1].transformers_:  # it has no word for a missing category
    if hasattr(encoder, "encoded_missing_value"):
        encoder.encoded_missing_value = np.nan
model = to_onnx(pipeline, initial_types=types, options={"zipmap": False}, target_opset=17)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
Row = create_model("Row", **dict.fromkeys(NUMBERS, (float, ...)), **dict.fromkeys(WORDS, (str, ...)))


class Rows(BaseModel):
    rows: list[Row]


application = FastAPI()


@application.post("/predict")
async def predict(body: Rows):
    given = {name: np.array([[getattr(row, name)] for row in body.rows], dtype=np.float32) for name in NUMBERS}
    given |= {name: np.array([[getattr(row, name)] for row in body.rows]) for name in WORDS}
    labels, shares = session.run(None, given)
    answers = zip(labels, shares, strict=True)
    return {"predictions": [{"prediction": int(label), "probability": float(share[1])} for label, share in answers]}


uvicorn.run(application, port=int(sys.argv[2]), log_level="warning", access_log=False)
