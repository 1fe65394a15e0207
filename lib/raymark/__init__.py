"""raymark: a reproducible pipeline for anatomical landmarks in X-ray images."""

__version__ = "0.1.0"
