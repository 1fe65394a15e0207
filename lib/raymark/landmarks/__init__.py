"""The 3D landmarks of a subject: read, or computed from a label map, and checked."""
