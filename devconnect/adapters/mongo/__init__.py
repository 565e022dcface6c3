"""The truth and the fallback reads on MongoDB, or on the embedded server that speaks its protocol."""
