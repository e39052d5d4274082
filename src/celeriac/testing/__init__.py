"""For tests: the exams that prove a broker or a result store."""
