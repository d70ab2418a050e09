"""The Torch model, its training, and the run folder that training leaves.

```python
from charlm.train import load_run, train

run = train("book.txt", out="runs/book", hidden=16, epochs=1)
print(run.summary["results"], len(run.vocabulary))
model = load_run("runs/book").model
```
"""

from typing import TYPE_CHECKING

from charlm.data.system.package import lazily

if TYPE_CHECKING:
    from charlm.train.run import train
    from charlm.train.runs.run_folder import Run, load_run

__all__ = ["Run", "load_run", "train"]
__getattr__, __dir__ = lazily(
    __name__, {"Run": "runs.run_folder", "load_run": "runs.run_folder", "train": "run"}
)
