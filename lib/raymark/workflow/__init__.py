"""What runs the stages: their steps, inputs, resources, checks, and what a run tells."""
