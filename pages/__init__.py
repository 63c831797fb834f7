"""The pages of `docs/` that are made from the code, a module a page: ``make docs``. They ship with nobody."""
