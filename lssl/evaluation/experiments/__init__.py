"""One file a table or figure of the paper, with what they share."""
