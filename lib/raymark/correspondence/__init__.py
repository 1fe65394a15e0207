"""Landmark correspondences between CT slices, learned without annotations (Grewal et al. 2020).

Pairs of axial slices take the place of views: a slice and its transformed copy, of which every
correspondence is known. One module per step: `slices`, `pairs`, `network`, `losses`, `training`,
`matching`, `evaluation`, `report`.
"""
