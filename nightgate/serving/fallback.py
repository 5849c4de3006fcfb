"""Releases without a compiled scorer: scikit-learn answers in a process apart, which is all that this module runs there.

The two talk by lines of JSON: rows one way, answers the other.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nightgate.errors import NotVerified
from nightgate.settings import Settings


class FallbackScorer:
    """The process that answers for one release; when it has ended it is started anew."""

    def __init__(self, settings: Settings, model: str, version: int, pointed: str) -> None:
        self.settings, self.words, self.lock = settings, [model, str(version), pointed], threading.Lock()
        self.process = self._started()

    def __call__(self, rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Return the pipeline's answers. Raises NotVerified when the process cannot answer."""
        plain = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in rows]
        with self.lock:
            if self.process.poll() is not None:
                self.process = self._started()
            answer = self._asked(json.dumps(plain))
        found: Sequence[Any] = answer["answers"]
        return found

    def _asked(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        if "answers" not in answer:
            raise NotVerified(f"scikit-learn gave no answer for {self.words[0]}: {answer.get('error', 'its process has ended')}")
        return dict(answer)

    def _started(self) -> "subprocess.Popen[str]":
        environment = {**os.environ, "NIGHTGATE_PROJECT": str(self.settings.root), "NIGHTGATE_STORE": self.settings.store_url,
                       "NIGHTGATE_KEYS": str(self.settings.keys)}
        self.process = subprocess.Popen([sys.executable, "-m", "nightgate.serving.fallback", *self.words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)
        self._asked("[]")  # it has loaded the release and its probes are right
        return self.process

    def close(self) -> None:
        with self.lock:
            self.process.kill()
            self.process.wait()


def answer(words: Sequence[str]) -> None:
    """Answer rows from standard input until it ends."""
    from nightgate.releases import PIPELINE, read_release, verify
    from nightgate.scoring.scorer import PipelineScorer, frame_of
    from nightgate.settings import settings

    place, (model, version, pointed) = settings(), words
    verify(place, model, int(version), pointed=pointed)
    scorer = PipelineScorer.of(read_release(place, model, int(version), only=(PIPELINE,), pointed=pointed))
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a model prints is no answer
    for line in sys.stdin:
        rows = json.loads(line)
        try:
            said = {"answers": scorer.predict(frame_of(rows, scorer.raw)).tolist() if rows else []}
        except Exception as error:  # a model may raise anything
            said = {"error": type(error).__name__}
        told.write(json.dumps(said) + "\n")
        told.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        answer(sys.argv[1:])
