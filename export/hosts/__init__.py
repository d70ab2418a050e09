"""A model as folders that other hosts load as they are: NVIDIA Triton, ONNX Runtime GenAI."""
