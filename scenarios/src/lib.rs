//! Plans, checks and the runner.
