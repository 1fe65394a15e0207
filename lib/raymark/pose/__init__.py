"""The pose of a camera from landmarks, and its refinement against the image."""
