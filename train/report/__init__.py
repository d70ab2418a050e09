"""The evidence of a run: how good the model is, beside what, why, and what to try next.

Here stand the names of a report's files in its run folder.
"""

PAGE, TEXT, FIGURES = "report.html", "report.md", "report.json"
PICTURES = ("training", "baselines", "context", "drift", "characters", "copies", "distance")


def picture(name: str) -> str:
    """The file of a picture that the Markdown shows."""
    return f"report-{name}.svg"


ALL = (PAGE, TEXT, FIGURES, *map(picture, PICTURES))
