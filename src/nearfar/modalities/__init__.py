"""Modalities: what is told apart by kind of data; `registry` lists them."""
