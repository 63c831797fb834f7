"""What live workers say of themselves, and what follows: who can take a job, when, and at what cost."""
