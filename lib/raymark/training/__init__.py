"""One training loop for all methods, and the model file it writes."""
