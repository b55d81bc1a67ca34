"""The page that shows one run, or several beside each other."""
