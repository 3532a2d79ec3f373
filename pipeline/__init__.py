"""Finch's library, from labeled images to a packaged student. It does not use Click or DVC."""
