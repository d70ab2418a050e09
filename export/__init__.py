"""From a trained checkpoint to a stateful ONNX graph that is proven equal to it."""
