"""What LLaMA-Factory gets from us, and what we ask it; nothing else imports it."""
