"""Modalities: what depends on the kind of data; `registry` lists them."""
