"""BentoML: FOLDER PORT."""

import os
import sys
from pathlib import Path

SERVICE = '''
import bentoml, joblib, pandas as pd

@bentoml.service(workers=1)
class Credit:
    def __init__(self):
        self.pipeline = joblib.load("pipeline.joblib")

    @bentoml.api
    def predict(self, rows: list[dict]) -> list[float]:
        return self.pipeline.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
'''
folder = Path(sys.argv[1])
(folder / "service.py").write_text(SERVICE)
os.chdir(folder)
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "service:Credit", "-p", sys.argv[2]])
