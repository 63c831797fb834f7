"""How ComfyUI is started on a card, and the proof that it really runs so."""
