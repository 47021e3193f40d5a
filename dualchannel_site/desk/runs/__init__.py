"""What the pages of runs, nights and topics show above their rows: curves, figures, answers, the morning report."""
