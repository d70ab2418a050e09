"""The evidence of a run: how good the model is, beside what, why, and what to try next.

Here stand the names of a report's files in its run folder.
"""

PAGE, TEXT, FIGURES = "report.html", "report.md", "report.json"
ALL = (PAGE, TEXT, FIGURES)
