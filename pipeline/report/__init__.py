"""Results as HTML pages and Markdown."""
