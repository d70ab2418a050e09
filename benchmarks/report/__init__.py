"""What was measured, as JSON, Markdown, pictures and a page."""
