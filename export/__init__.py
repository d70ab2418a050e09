"""From a trained run to a stateful ONNX graph that is proven equal to it.

```python
from charlm.export import export_run, verify_file

exported = export_run("runs/book", "model.onnx")
print(exported.size, exported.metadata.hidden)
verify_file("model.onnx")
```
"""

from typing import TYPE_CHECKING

from charlm.data.system.package import lazily

if TYPE_CHECKING:
    from charlm.export.export import Exported, Wanted, export_run, verify_file

__all__ = ["Exported", "Wanted", "export_run", "verify_file"]
__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "export"))
