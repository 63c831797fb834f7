"""Children: started, guarded, their output read, and ended with us."""
