"""The truth about each job: `JobStore`, the parts of it that each side needs, and its Redis form."""
