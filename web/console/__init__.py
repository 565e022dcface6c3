"""The pages: the interface to read, what each problem means, and the two that mailed links lead to."""
