"""`antiphon reproduce NAME`: a paper's table beside ours. One file a table; the others are what they share."""
