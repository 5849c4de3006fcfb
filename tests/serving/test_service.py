"""The service over real HTTP: the same answers as in training, strict requests, and other protocols' clients."""

import contextlib
import http.client
import json
import math
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightgate.errors import FileMissing, UsageError
from nightgate.predictionlog import segments_of
from nightgate.scoring.scorer import load_scorer
from nightgate.serving.door import LARGEST_BODY, MOST_MISTAKES
from nightgate.serving.following import Following
from nightgate.serving.running import Serving, service_of
from nightgate.settings import Settings
from tests.projects import edit_contract, people, project, run_plainly
from tests.services import Client, process, running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project with a release whose contract has rules for single rows."""
    made = project(tmp_path_factory.mktemp("served"), people(2_000))
    edit_contract(made, "raw", {"type": "expect_column_values_to_be_between", "kwargs": {"column": "income", "min_value": -50, "max_value": 500}})
    assert run_plainly(made) is not None
    return made


@pytest.fixture(scope="module")
def client(place: Settings) -> Iterator[Client]:
    with running(place) as (client, _):
        yield client


def test_rows_are_answered_alone_and_together_and_as_in_training(place: Settings, client: Client) -> None:
    many = [ROW, {**ROW, "city": None}, {**ROW, "city": "never seen", "income": None}, {**ROW, "city": " Bern "}] * 20
    code, one = client.post(ROW)
    _, some = client.post({"rows": many[:4]})
    _, all_of_them = client.post({"rows": many})
    expected = load_scorer(place, "credit", 1).predict(pd.DataFrame([ROW]))

    assert (code, one["model"], one["version"]) == (200, "credit", 1)
    assert one["predictions"] == [some["predictions"][0]] == [some["predictions"][3]]
    assert [each["prediction"] for each in all_of_them["predictions"]] == [each["prediction"] for each in some["predictions"]] * 20
    assert one["predictions"][0]["probability"] == pytest.approx(float(expected[0]), abs=1e-12)


BAD: list[tuple[Any, int, str]] = [
    ({**ROW, "income": "3.5"}, 422, "rows[0].income: found text, needed number"), ({**ROW, "age": True}, 422, "rows[0].age: found a boolean"),
    ({**ROW, "age": 3.5}, 422, "needed integer"), ({**ROW, "extra": 1}, 422, "rows[0].extra: unknown field"),
    ({"income": 1.0, "age": 3}, 422, "rows[0].city: missing"), ({"rows": []}, 422, "neither one row"), ([1], 422, "neither one row"),
    ({**ROW, "income": 501}, 422, "rows[0].income: `income` lies between -50 and 500"),
    (b"{", 422, "no JSON"), (b'{"income": 1', 422, "no JSON"), (b"", 422, "no JSON"), (b'{"income": NaN}', 422, "NaN is no JSON number"),
    (b"[" * 50_000, 422, "no JSON"), (b'{"rows":' * 20_000, 422, "no JSON"), (b"\xff", 422, "UTF-8"),
    (json.dumps(ROW).encode("utf-16"), 422, "UTF-8"), (b'{"income": 1e999, "age": 1, "city": null}', 422, "needed number"),
    ({"rows": [ROW, {**ROW, "age": "x"}]}, 422, "rows[1].age"), ({**ROW, "age": 10**30}, 422, "integer of 64 bits"), (b"1" * 5_000, 422, "no JSON"),
    ({**ROW, "income": 2**60}, 422, "rows[0].income: found an integer"), ({**ROW, "city": "\ud800"}, 422, "rows[0].city"),
    ({**ROW, "\ud800": 1}, 422, "unknown"), ({**ROW, "income": [1]}, 422, "found a list"), ({**ROW, "income": 1e300}, 422, "needed number"),
    (b'{"income": 1, "age": 1, "age": 2, "city": null}', 422, "stands twice"),
    (b'{"income": 1, "age": 1, "a\\u0067e": 2, "city": null}', 422, "stands twice"),
    (b'{"rows":[{"income": 1, "age": 1, "age": 2, "city": "a:b"}]}', 422, "stands twice"),
    ({"rows": [{}] * 1_000}, 422, "… and more"), (b'{"rows":[' + b",".join([b"1"] * 1_000_000) + b"]}", 422, "neither one row"),
    (b'{"rows":[' + b",".join([json.dumps(ROW).encode()] * 10_001) + b"]}", 422, "at most 10,000"), (b" " * (LARGEST_BODY + 1), 413, "more than")]


@pytest.mark.parametrize(("body", "status", "told"), BAD, ids=[f"{number} {told}" for number, (_, _, told) in enumerate(BAD)])
def test_bad_requests_are_told_every_mistake(body: Any, status: int, told: str, client: Client) -> None:
    code, answer = client.post(body)

    assert code == status and len(answer["error"]["mistakes"]) <= MOST_MISTAKES + 1
    assert any(told in mistake for mistake in answer["error"]["mistakes"])
    assert client.post(ROW)[0] == 200


@pytest.mark.parametrize(("headers", "code"), [
    ({"content_type": "text/csv"}, 415), ({"content_type": "application/json; charset=latin-1"}, 415), ({"content_encoding": "gzip"}, 415),
    ({"content_type": "application/json; charset=utf-8"}, 200), ({"content_type": "application/vnd.api+json"}, 200)])
def test_only_json_in_utf8_is_read(headers: dict[str, str], code: int, client: Client) -> None:
    assert client.post(ROW, **headers)[0] == code


def test_a_body_of_a_hundred_megabytes_is_refused_before_it_is_read(client: Client) -> None:
    asked = Client(client.port)
    asked.connection.putrequest("POST", "/models/credit/predict")
    asked.connection.putheader("content-type", "application/json")
    asked.connection.putheader("content-length", str(100 * 2**20))
    asked.connection.endheaders()

    assert asked.connection.getresponse().status == 413


def test_a_body_in_pieces_is_read_and_bounded(client: Client) -> None:
    def pieces(size: int, count: int) -> Iterator[bytes]:
        yield json.dumps(ROW).encode()
        for _ in range(count):
            yield b" " * size

    codes = []
    for count in (2, 10):
        asked = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        try:
            asked.request("POST", "/models/credit/predict", pieces(2**20, count), {"content-type": "application/json"}, encode_chunked=True)
            codes.append(asked.getresponse().status)
        except (BrokenPipeError, ConnectionResetError):  # it answered and hung up before all was sent
            codes.append(413)

    assert codes == [200, 413]


@pytest.mark.parametrize(("begin", "piece"), [
    (b"GET /health HTTP/1.1\r\nx: ", b"a"), (b"GET /health HTTP/1.1\r\n", b"x: a\r\n"), (b"GET /", b"a"),
    (b"POST /models/credit/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a")],
    ids=["header", "headers", "address", "trailers"])
def test_a_request_without_an_end_is_cut_off(begin: bytes, piece: bytes, client: Client) -> None:
    piece *= 2**20 // len(piece)
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as asked:
        asked.sendall(begin)
        with pytest.raises(ConnectionError):
            for _ in range(64):
                asked.sendall(piece)
    assert Client(client.port).post(ROW)[0] == 200


PREDICT = b"POST /models/credit/predict HTTP/1.1\r\ncontent-length: 9999\r\n"


@pytest.mark.parametrize(("begin", "codes"), [
    (b"", []), (b"GET /health HTTP/1.1\r\nx: ", [408]), (PREDICT + b"\r\n" + json.dumps(ROW).encode(), [408]),
    (b"GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\nx: ", [200, 408]), (PREDICT + b"content-type: text/html\r\n\r\n", [415])],
    ids=["silent", "head", "body", "second head", "body after its answer"])
def test_a_request_that_comes_too_slowly_is_ended(begin: bytes, codes: list[int], place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a byte comes now and then."""
    monkeypatch.setattr("nightgate.serving.heads.LONGEST_SECONDS", 0.3)
    answer = b""
    with running(place) as (client, service), socket.create_connection(("127.0.0.1", client.port), timeout=0.05) as asked:
        asked.sendall(begin)
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                try:
                    if not (part := asked.recv(65_536)):
                        break
                    answer += part
                except TimeoutError:
                    asked.sendall(b" " if begin else b"")
            else:
                pytest.fail("it was never ended")
        assert Client(client.port).post(ROW)[0] == 200
        counted = service.metrics.text({})

    assert [int(each) for each in re.findall(rb"HTTP/1.1 (\d+)", answer)] == codes
    assert ('code="408"' in counted) == (begin.startswith(PREDICT + b"\r\n"))


@pytest.mark.parametrize(("request_line", "code"), [
    ("GET /health", 200), ("GET /docs", 200), ("GET /nothing", 404), ("GET /models/credit/predict", 405), ("POST /models/credit/predict", 422),
    ("BREW /health", 400), ("GET /v2/models/broken", 500)])
def test_no_answer_tells_who_wrote_it_or_in_which_version(request_line: str, code: int, place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Following.chosen
    monkeypatch.setattr(Following, "chosen", lambda self, model: 1 / 0 if model == "broken" else chosen(self, model))
    with running(place) as (client, _), socket.create_connection(("127.0.0.1", client.port), timeout=30) as asked:
        asked.sendall(f"{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: asked.recv(65_536), b"")).decode().lower()
    head = answer.partition("\r\n\r\n")[0]

    assert head.startswith(f"http/1.1 {code} ") and "\r\nserver:" not in head
    assert (code in (400, 500)) or ("nosniff" in head and "no-store" in head)
    told = ("python", "uvicorn", "traceback", "zerodivision", "site-packages", *map(version, ("nightgate", "uvicorn", "scikit-learn")))
    assert not [each for each in told if each in answer]


def test_what_is_not_there_is_not_found(client: Client) -> None:
    assert client.post(ROW, "/models/none/predict")[0] == 404
    assert client.get("/nothing")[0] == 404 and client.get("/models/credit/predict")[0] == 405
    assert client.post(ROW, "/v2/models/none/infer")[0] == 404 and client.get("/v2/models/credit/versions/9/ready")[0] == 404


def test_state_metrics_and_description_are_given(client: Client) -> None:
    client.post(ROW)
    _, document = client.get("/openapi.json")
    operation = document["paths"]["/models/credit/predict"]["post"]["requestBody"]["content"]["application/json"]
    code, page = client.ask("GET", "/docs")

    assert client.get("/health") == (200, {"status": "ok"}) and client.ask("HEAD", "/health") == (200, b"")
    assert client.get("/ready")[1]["models"] == {"credit": 1}
    assert b'nightgate_requests_total{model="credit",version="1",consumer="anonymous",code="200"}' in client.ask("GET", "/metrics")[1]
    assert operation["schema"]["anyOf"][0]["properties"]["income"]["maximum"] == 500
    assert client.post(operation["example"])[0] == 200
    assert code == 200 and b"</html>" in page and b"http://" not in page.replace(b"http://www.w3", b"")


def test_mlflows_own_client_is_answered(client: Client) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    frame = pd.DataFrame([ROW, {**ROW, "city": None}])
    found = ScoringServerClient("127.0.0.1", client.port).invoke(frame).get_predictions()

    assert list(found["prediction"]) == [each["prediction"] for each in client.post({"rows": json.loads(frame.to_json(orient="records"))})[1]["predictions"]]


@pytest.mark.parametrize("body", [
    {"dataframe_split": {"columns": [*ROW], "data": [[*ROW.values()]]}}, {"dataframe_records": [ROW]}, {"instances": [ROW]},
    {"inputs": {name: [value] for name, value in ROW.items()}}, {"inputs": [ROW], "params": None}])
def test_every_form_of_mlflow_is_answered(body: Any, client: Client) -> None:
    expected = client.post(ROW)[1]["predictions"]

    assert client.post(body, "/invocations")[1]["predictions"] == expected == client.post(body, "/models/credit/invocations")[1]["predictions"]


@pytest.mark.parametrize("body", [
    {}, [], {"dataframe_split": {}}, {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, {"instances": [1]},
    {"dataframe_split": {"columns": ["a"], "data": [[1, 2], 3]}}, {"inputs": {"a": [1], "b": []}}, {"inputs": 1}, {"instances": [{**ROW, "x": 1}]},
    {"instances": [ROW], "inputs": [ROW]}, {"inputs": {}}])
def test_bad_forms_of_mlflow_are_refused(body: Any, client: Client) -> None:
    assert client.post(body, "/invocations")[0] == 422


def tensors(**columns: tuple[str, list[Any]]) -> dict[str, Any]:
    return {"id": "7", "inputs": [{"name": name, "shape": [len(data)], "datatype": kind, "data": data} for name, (kind, data) in columns.items()]}


def test_the_open_inference_protocol_is_answered(client: Client) -> None:
    code, answer = client.post(tensors(income=("FP64", [41.5, 40]), age=("INT64", [33, 33]), city=("BYTES", ["Bern", "Bern"])), "/v2/models/credit/infer")
    outputs = {each["name"]: each for each in answer["outputs"]}
    _, metadata = client.get("/v2/models/credit")

    assert code == 200 and (answer["model_name"], answer["model_version"], answer["id"]) == ("credit", "1", "7")
    assert outputs["probability"]["data"][0] == client.post(ROW)[1]["predictions"][0]["probability"] and outputs["prediction"]["datatype"] == "BYTES"
    assert [each["datatype"] for each in metadata["inputs"]] == ["FP64", "INT64", "BYTES"]
    assert client.get("/v2/health/live")[0] == client.get("/v2/health/ready")[0] == client.get("/v2/models/credit/versions/1/ready")[0] == 200


@pytest.mark.parametrize("body", [
    {}, {"inputs": []}, {"inputs": [1]}, {"inputs": [{"name": "income"}]}, tensors(income=("FP64", [1.0])),
    {"inputs": [{"name": "income", "shape": [2], "datatype": "FP64", "data": [1.0]}]}, tensors(income=("FP64", [1.0]), age=("INT64", [1, 2]), city=("BYTES", ["a"]))])
def test_bad_tensors_are_refused(body: Any, client: Client) -> None:
    assert client.post(body, "/v2/models/credit/infer")[0] == 422


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_own_client_is_answered(binary: bool, client: Client) -> None:
    from tritonclient.http import InferenceServerClient, InferInput

    rows = {"income": (np.array([41.5, np.nan]), "FP64"), "age": (np.array([33, 34], dtype=np.int16), "INT16"),
            "city": (np.array(["Bern", "Zürich"], dtype=object), "BYTES")}
    inputs = []
    for name, (values, kind) in rows.items():
        inputs.append(InferInput(name, [2], kind))
        inputs[-1].set_data_from_numpy(values if binary or name != "income" else np.array([41.5, 40.0]), binary_data=binary)
    theirs = InferenceServerClient(f"127.0.0.1:{client.port}")
    answer = theirs.infer("credit", inputs)
    own = client.post({"rows": [ROW, {"income": None if binary else 40.0, "age": 34, "city": "Zürich"}]})[1]

    assert theirs.is_server_live() and theirs.is_model_ready("credit") and theirs.get_model_metadata("credit")["name"] == "credit"
    assert answer.as_numpy("probability").tolist() == [each["probability"] for each in own["predictions"]]
    assert answer.as_numpy("prediction").tolist() == [each["prediction"] for each in own["predictions"]]
    theirs.close()


TEXT = {"name": "city", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 8}}
FLOAT = {"name": "income", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}


@pytest.mark.parametrize(("inputs", "after", "length"), [
    ([FLOAT], b"1234567", None), ([FLOAT], b"123456789", None), ([TEXT], b"\xff\xff\xff\xff1234", None), ([TEXT], b"\x04\x00\x00\x00\xff\xfe..", None),
    ([{**FLOAT, "parameters": {"binary_data_size": 7}}], b"1234567", None), ([{**FLOAT, "datatype": "FP16"}], b"12345678", None),
    ([{**FLOAT, "parameters": {"binary_data_size": True}}], b"1", None), ([FLOAT], struct.pack("<d", math.inf), None), ([FLOAT], b"12345678", "-1"),
    ([FLOAT], b"12345678", "7"), ([FLOAT], b"12345678", "999")])
def test_bad_binary_tensors_are_refused(inputs: list[Any], after: bytes, length: str | None, client: Client) -> None:
    described = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": length or str(len(described))}

    assert client.post(described + after, "/v2/models/credit/infer", **headers)[0] == 422


def test_nothing_serves_without_a_champion(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="champion"):
        service_of(project(tmp_path), Serving(models=["credit"]))


def test_it_is_not_open_to_others_without_keys(place: Settings) -> None:
    with pytest.raises(UsageError, match="no access keys"):
        service_of(place, Serving(host="0.0.0.0"))


def test_the_service_loads_no_large_library(place: Settings) -> None:
    """What starts in under a second, and in little memory, needs none of these."""
    code = ("import sys\nfrom pathlib import Path\nfrom nightgate.settings import settings\nfrom nightgate.serving.running import Serving, service_of\n"
            "import nightgate.cli.main, uvicorn\nservice = service_of(settings(Path.cwd()), Serving())\nassert service.following.champions\n"
            "print([name for name in ('pandas', 'sklearn', 'scipy', 'prefect', 'mlflow', 'great_expectations', 'pyarrow', 'duckdb', 'pydantic') if name in sys.modules])")

    assert subprocess.run([sys.executable, "-c", code], cwd=place.root, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_several_processes_share_a_port_and_their_log_survives_a_kill(place: Settings) -> None:
    before = sum(path.read_bytes().count(b'"request"') for path in segments_of(place, "credit"))
    with process(place.root, "--workers", "2") as (port, served):
        answered = [Client(port).post(ROW)[1]["request_id"] for _ in range(50)]
        children = Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()
        for child in children:
            subprocess.run(["kill", "-9", child], check=True)
        again = Client(port).post(ROW)[0]
    written = b"".join(path.read_bytes() for path in segments_of(place, "credit"))

    assert len(children) == 2 and again == 200 and all(each.encode() in written for each in answered)
    assert written.count(b'"request"') == before + 51




def test_whatever_the_description_allows_or_forbids_is_never_an_error_of_the_service(client: Client) -> None:
    """Schemathesis makes requests of the service's own OpenAPI document, and breaks them."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{client.port}/openapi.json", "--checks", checks, "-n", "40",
               "--seed", "1", "--no-color"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout[-3_000:]
