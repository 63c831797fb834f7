"""Whether a server would take a graph, judged without one, and what to do about it in plain words."""
