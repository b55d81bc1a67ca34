"""Looking at what was learned: search, explain, audit, map, report."""
