"""Methods: one paper, one file; `table` lists them."""
