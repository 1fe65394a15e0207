"""Annotated 2D images: one module for each layout that their landmarks come in."""
