"""TLS and the commands of serving, as a person would use them."""

import http.client
import json
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightgate.serving import running as supervising
from nightgate.settings import Settings
from tests.commands import said, shown
from tests.projects import copied
from tests.services import process, running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}


@pytest.fixture(scope="module")
def finished(two_releases: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copied(two_releases.root, tmp_path_factory.mktemp("run") / "project")


@pytest.fixture
def place(finished: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(finished.root)
    return finished


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that it signed itself, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nightgate")])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False).sign(key, hashes.SHA256()))
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder / "tls.pem", folder / "tls.key"


def test_tls_is_spoken_where_certificate_and_key_are_given(place: Settings, tmp_path: Path) -> None:
    made, key = certificate(tmp_path)
    with process(place.root, "--cert", str(made), "--cert-key", str(key)) as (port, _):
        asked = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cafile=made), timeout=30)
        asked.request("POST", "/models/credit/predict", json.dumps(ROW), {"content-type": "application/json"})
        code = asked.getresponse().status

    assert code == 200


@pytest.mark.parametrize("words", [("--cert", "none.pem"), ("--cert", "none.pem", "--cert-key", "none.key"), ("--workers", "0")])
def test_half_of_a_certificate_and_no_process_are_refused(words: tuple[str, ...], place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "serve", *words)[1]["error"]["kind"] == "UsageError"


def test_keys_are_issued_listed_rotated_and_revoked(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _, issued = said(capsys, "keys", "issue", "shop", "--models", "credit", "--days", "1", "--rate", "5")
    _, listed = said(capsys, "keys", "list")
    _, rotated = said(capsys, "keys", "rotate", "shop", "--overlap", "0")

    assert issued["key"].startswith("ng_") and issued["key"] != rotated["key"] and issued["models"] == ["credit"]
    assert [each["consumer"] for each in listed["keys"]] == ["shop"] and "sha256" not in json.dumps(listed)
    assert "shop" in shown(capsys, "keys", "list")
    assert said(capsys, "keys", "revoke", "shop")[1]["revoked"] == 2
    assert said(capsys, "keys", "revoke")[1]["error"]["kind"] == "UsageError"
    place.access.unlink()  # without any key left nobody may ask; without the file everybody on this machine may


@pytest.mark.parametrize("words", [("--days", "nan"), ("--days", "-1"), ("--days", "1e300"), ("--rate", "nan"), ("--rate", "0"), ("--models", ",")])
def test_a_key_that_makes_no_sense_is_refused(words: tuple[str, str], place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = said(capsys, "keys", "issue", "odd", *words)

    assert (code, told["error"]["kind"], place.access.exists()) == (2, "UsageError", False)


@pytest.mark.parametrize(("models", "known"), [("credti", False), ("credit,churn", False), ("credit,admin", True), ("*", True)])
def test_a_key_names_models_that_there_are(models: str, known: bool, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = said(capsys, "keys", "issue", "shop", "--models", models)

    assert (code, place.access.exists()) == ((0, True) if known else (2, False))
    assert known or (told["error"]["kind"] == "FileMissing" and "credit" in told["error"]["remedy"])
    place.access.unlink(missing_ok=True)


def test_a_trial_is_begun_shown_and_ended(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "canary", "credit")[1]["error"]["kind"] == "UsageError"
    begun = said(capsys, "canary", "credit", "--shadow")[1]
    unasked = said(capsys, "canary", "credit")[1]
    with running(place) as (client, _):
        for _ in range(5):
            client.post(ROW)
    found = said(capsys, "canary", "credit")[1]
    told = shown(capsys, "canary", "credit")

    assert begun == {"model": "credit", "version": 2, "mode": "shadow", "share": 100.0}
    assert [(each["version"], each["rows"]) for each in unasked["sides"]] == [(1, 0), (2, 0)]
    assert [each["rows"] for each in found["sides"]] == [5, 5] and found["agreed"] == 1.0 and "shadow" in told
    assert said(capsys, "canary", "credit", "--share", "10")[1]["mode"] == "canary"
    assert said(capsys, "canary", "credit", "--stop")[1]["trial"] is None
    assert said(capsys, "log", "credit")[1]["credit"]["rows"] >= 10


def test_releases_are_signed_from_the_first_key_on(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, made = said(capsys, "keys", "new")
    again, _ = said(capsys, "keys", "new")

    assert (code, made["signed"], again) == (0, 2, 2)
    assert said(capsys, "rollback", "credit", "--to", "2")[1]["champion"] == 2


def test_the_container_of_the_service_needs_only_what_its_lock_holds(place: Settings) -> None:
    """What the service imports, beside Python's own and Nightgate, is in `deployments/serving.lock`."""
    root = Path(__file__).resolve().parents[2]
    held = {line.split("==")[0].replace("-", "_") for line in (root / "deployments/serving.lock").read_text().splitlines() if "==" in line}
    code = ("import sys\nfrom pathlib import Path\nfrom nightgate.settings import settings\nfrom nightgate.serving.running import Serving, service_of\n"
            "import nightgate.cli.main, uvicorn, uvloop, httptools\nservice_of(settings(Path.cwd()), Serving())\n"
            "print(*{name.partition('.')[0] for name, module in sys.modules.items() if 'site-packages' in (getattr(module, '__file__', '') or '')})")

    used = subprocess.run([sys.executable, "-c", code], cwd=place.root, capture_output=True, text=True, check=True).stdout.split()

    own = {"nightgate", "cffi_backend", "distutils_hack", "typing_extensions"}  # the last two are used where they happen to be
    assert {name.lstrip("_") for name in used if not name.startswith(("__editable", "_virtualenv", "a1_", "pytest_cov"))} <= held | own


def test_a_process_that_ends_at_once_is_not_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its champion has gone: trying again must not take a processor."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(supervising.time, "sleep", pause)
    supervising._supervise(lambda: None, 1)

    assert pauses == [supervising.RESTARTED_AFTER] * 2
