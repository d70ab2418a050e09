"""Generating and scoring text with ONNX Runtime; neither Torch nor onnx is imported here."""
