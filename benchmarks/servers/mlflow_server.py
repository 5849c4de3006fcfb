"""`mlflow models serve`: FOLDER PORT."""

import os
import sys
from pathlib import Path

import joblib
import mlflow.sklearn

folder = Path(sys.argv[1]) / "mlflow"
if not folder.exists():
    mlflow.sklearn.save_model(joblib.load(f"{sys.argv[1]}/pipeline.joblib"), folder, pip_requirements=["scikit-learn"],
                              serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba")
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
os.execv(sys.executable, [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "-p", sys.argv[2], "--env-manager", "local",
                          "--workers", "1"])
