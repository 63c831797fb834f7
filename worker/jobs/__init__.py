"""One job on this worker: claimed, fitted to the place, rendered, its trouble sorted, its outcome booked."""
