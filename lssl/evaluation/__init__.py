"""What was reached: measures, the paper's experiments, and the reports."""
