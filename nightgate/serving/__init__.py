"""The prediction service: what a request must be, what answers it, who may ask, and what is written down of it."""
