"""WHO uses it: models that know their settings and their directory, and runs that keep them together."""
