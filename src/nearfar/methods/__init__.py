"""Methods: one paper, one file; `registry` lists them."""
