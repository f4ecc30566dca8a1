"""Side-by-side measurements; each writes a table and a JSON."""
