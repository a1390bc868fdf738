//! The whole system, with real processes: one module per topic.
