"""How good results are: measures, the paper's experiments, and reports."""
