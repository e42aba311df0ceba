"""How a step meets the platform: settings, database, events in and out, answers, limits, logs."""
