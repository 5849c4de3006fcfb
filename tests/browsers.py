"""What a real browser makes of a page."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MEASURE = "<p id=w></p><script>w.textContent='wide='+document.documentElement.scrollWidth</script></main>"
NARROWEST = 500
"""Pixels of Chromium's narrowest window: a narrower page is one in a narrower body."""


def chromium() -> str:
    """Return the browser of this machine; skip the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("Chromium is not installed; .ci/run installs it.")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


def shown_by(browser: str, page: str, width: int, folder: Path) -> tuple[int, str]:
    """Return how many pixels wide a page is in a window of a width, and what the browser made of it."""
    narrowed = page.replace("<main>", f'<main style="width:{width}px">') if width < NARROWEST else page
    (folder / "page.html").write_text(narrowed.replace("</main>", MEASURE))
    shown = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                            "--disable-background-networking", "--disable-component-update", "--disable-sync",
                            f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, NARROWEST)},900", "--dump-dom",
                            (folder / "page.html").as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"wide=(\d+)", shown)
    assert found is not None
    return int(found[1]), shown
