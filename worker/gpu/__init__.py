"""The graphics card: read through NVML, watched, held by one worker, and tried for what it can do."""
