"""Calls to addresses that strangers give: which are called at all, and for how long."""
