"""mlflow's pyfunc over a Parquet file in blocks of 100,000 rows: FOLDER."""

import sys
from pathlib import Path

import joblib
import mlflow.pyfunc
import mlflow.sklearn
import pandas as pd
import pyarrow.parquet as pq

folder = Path(sys.argv[1])
if not (folder / "mlflow").exists():
    mlflow.sklearn.save_model(joblib.load(folder / "pipeline.joblib"), folder / "mlflow", pip_requirements=["scikit-learn"],
                              serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba")
model = mlflow.pyfunc.load_model(str(folder / "mlflow"))
source = pq.ParquetFile(folder / "large.parquet", pre_buffer=False)
parts = [pd.DataFrame(model.predict(batch.to_pandas())) for batch in source.iter_batches(100_000)]
pd.concat(parts).set_axis(["no", "yes"], axis=1).to_parquet(folder / "theirs.parquet")
