"""One file for each command: what `nearfar.<command>` and `nearfar <command>` do."""
