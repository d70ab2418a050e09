"""Generating and scoring text with ONNX Runtime; neither Torch nor onnx is imported here.

```python
from charlm.infer import Generator, Request

generator = Generator.open()  # the model that ships
print(generator.text("the old house ", length=40, seed=1))
requests = [Request("the ", length=20, sample=number) for number in range(3)]
texts = [result.text for result in generator.batch(requests)]
print(generator.score("the old house stood upon the hill").bits_per_character)
```

Engineers who want the bare model take `load_step`.
"""

from typing import TYPE_CHECKING

from charlm.data.system.package import lazily

if TYPE_CHECKING:
    from charlm.infer.batch.results import Failure, Result
    from charlm.infer.engines.stream import TextStream
    from charlm.infer.generator import Generator
    from charlm.infer.model.state import State
    from charlm.infer.model.step import Step, load_step
    from charlm.infer.request import Request
    from charlm.infer.scoring.score import Score

__all__ = [
    "Failure",
    "Generator",
    "Request",
    "Result",
    "Score",
    "State",
    "Step",
    "TextStream",
    "load_step",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        "Failure": "batch.results",
        "Generator": "generator",
        "Request": "request",
        "Result": "batch.results",
        "Score": "scoring.score",
        "State": "model.state",
        "Step": "model.step",
        "TextStream": "engines.stream",
        "load_step": "model.step",
    },
)
