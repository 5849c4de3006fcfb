"""SHIM"""
import hashlib, json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from nightgate.errors import FileMissing
@dataclass(frozen=True)
class Suite:
    name: str
    checks: tuple[Any, ...]
    meta: dict[str, Any]
    sha256: str
def read_suite(path: Path) -> Suite:
    if not path.exists():
        raise FileMissing(f"{path} is not there.")
    b = path.read_bytes(); v = json.loads(b)
    return Suite(v["name"], tuple(v["expectations"]), v.get("meta", {}), hashlib.sha256(b).hexdigest())
