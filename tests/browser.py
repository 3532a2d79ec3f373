"""Accessibility faults of a page, found by axe-core in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from html import unescape
from pathlib import Path

import pytest

# A wheel that contains axe-core (MPL-2.0) as one file. It is only unpacked, not installed.
_WHEEL = "axe-playwright-python==0.1.8"
_AXE = "axe_playwright_python/axe.min.js"

_SCRIPT = """
<script src="axe.min.js"></script>
<script>
addEventListener("load", () => axe.run(document).then(found => {
  const faults = found.violations.map(({impact, id, help, nodes}) =>
    ({impact, id, help, targets: nodes.map(node => node.target.join(" "))}));
  const box = document.createElement("pre");
  box.id = "axe-result";
  box.textContent = JSON.stringify({faults, passes: found.passes.length});
  document.body.append(box);
}));
</script>
"""


class Browser:
    """Headless Chromium with axe-core; skips the test if there is no Chromium.

    Args:
        folder: Folder for the axe-core script, which is downloaded from PyPI.
    """

    def __init__(self, folder: Path) -> None:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("needs Chromium; on Debian: apt-get install chromium")
        self._program = found
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*pip, _WHEEL], check=True, capture_output=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            self._axe = archive.read(_AXE)

    def faults(self, page: Path, *, width: int, dark: bool = False) -> list[str]:
        """Serious and critical faults of a page, one line each.

        Args:
            page: The HTML file; a copy with axe-core is written beside it.
            width: Width of the window in pixels.
            dark: Whether the reader prefers dark colors.
        """
        (page.parent / "axe.min.js").write_bytes(self._axe)
        copy = page.with_name(f"{page.stem}.axe.html")
        copy.write_text(page.read_text("utf-8").replace("</body>", _SCRIPT + "</body>"), "utf-8")
        # A computer with a mouse, which headless Chromium is not.
        device = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4"
        reader = f"--blink-settings={device},preferredColorScheme={0 if dark else 1}"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", reader, "--dump-dom"]
        options += [f"--window-size={width},900", "--virtual-time-budget=20000"]
        command = [self._program, *options, copy.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search(r'<pre id="axe-result">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, f"axe-core did not finish: {done.stderr[-500:]}"
        result = json.loads(unescape(found[1]))
        assert result["passes"] > 10, "axe-core checked nothing"
        return [
            f"{page.name}: {fault['id']} ({fault['help']}): {', '.join(fault['targets'][:5])}"
            for fault in result["faults"]
            if fault["impact"] in ("serious", "critical")
        ]
