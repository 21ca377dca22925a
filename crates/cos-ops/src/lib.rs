//! Plan, execute, report: what the verbs do.
