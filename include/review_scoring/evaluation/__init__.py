"""Model evaluation on labelled reviews: benchmark sets, metrics, verdicts, the gate, the champion, promotion."""
