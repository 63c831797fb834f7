"""What all commands share: the terminal, exit codes, words, tables."""
