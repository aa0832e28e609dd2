"""WHERE the bytes are: files that appear whole or not at all, and never an array.

The verbs of `objio.io` call the functions here; what a name looks like chooses who answers.
"""
