"""Changes to a graph: each works on a copy and reports every input that it wrote."""
