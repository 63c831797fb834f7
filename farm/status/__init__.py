"""What a worker tells of itself, as types: its status, the proof of its mode, why it fetches nothing."""
