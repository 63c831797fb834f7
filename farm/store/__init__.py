"""The truth about each job: the `JobStore` protocol and its Redis form."""
