"""Kernels: a model as an ONNX graph, proven equal to the original before it is used."""
