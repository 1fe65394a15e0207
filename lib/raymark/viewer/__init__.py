"""A C-arm in the browser: a CT's X-ray while it is turned, its slices, and what is planned and found.

`server.py` answers a page (`page/`) on this machine alone; `frames.py` makes its X-rays, with the
camera, projector and physics of the rendering.
"""
