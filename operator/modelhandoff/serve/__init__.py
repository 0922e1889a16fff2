"""A small reference model server for ONNX models."""
