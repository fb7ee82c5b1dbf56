"""Input from and output to the user: flags, progress lines, tables, sentences."""
