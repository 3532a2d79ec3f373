"""Takes the picture of the report that the start page shows: docs/images/report.webp.

Run after `dvc repro`, with Chromium installed (on Debian: apt-get install chromium):

    python docs/site/report_picture.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1120, 1400


def take_picture(page: Path, target: Path) -> None:
    """Writes the first part of a page as WebP, in light colors.

    Args:
        page: The HTML file.
        target: The picture, twice as large as in the browser, for sharp text.

    Raises:
        FileNotFoundError: There is no such page, or no Chromium.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("Chromium is not installed; on Debian: apt-get install chromium")
    if not page.is_file():
        raise FileNotFoundError(f"{page} is missing; run `dvc repro`")
    with tempfile.TemporaryDirectory() as folder:
        screenshot = Path(folder, "screenshot.png")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += ["--blink-settings=preferredColorScheme=1", "--force-device-scale-factor=2"]
        options += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={screenshot}"]
        subprocess.run([browser, *options, page.resolve().as_uri()], check=True)
        with Image.open(screenshot) as image:
            image.convert("RGB").save(target, quality=80, method=6)


if __name__ == "__main__":
    try:
        take_picture(ROOT / "reports/index.html", ROOT / "docs/images/report.webp")
    except FileNotFoundError as error:
        sys.exit(str(error))
