"""What a caller asks for, from graphs, templates and options to the spec of a job."""
