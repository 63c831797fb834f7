"""Commands about graphs: shown, checked, changed, planned."""
