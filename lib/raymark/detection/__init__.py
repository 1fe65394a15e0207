"""A trained model finds landmarks: on views, on files, as ONNX."""
