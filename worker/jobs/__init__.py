"""One job on this worker: claimed, fitted to the worker, rendered, its trouble sorted, its outcome booked."""
