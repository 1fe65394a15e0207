"""Annotated X-rays become shards."""
