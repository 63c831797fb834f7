"""Where a render's seconds went, what was lost, and what to change: `comfy.doctor.diagnose.diagnose`.

From a log, a graph, a card and measured times, whichever are there. Pure: it opens no socket, and needs
neither Redis nor Celery.
"""
